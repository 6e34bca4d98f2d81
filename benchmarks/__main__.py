"""`python -m benchmarks`: the whole comparison; `python -m benchmarks profile`: where one system's time goes."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks import profiling, report
from benchmarks.plan import FULL, QUICK
from benchmarks.processes import NotReady
from benchmarks.run import run
from benchmarks.sections import SECTIONS
from benchmarks.system import LoadFailed
from benchmarks.systems import MEDQUEUE, SYSTEMS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
LEAST_WIDTH = 110
FIGURES = ROOT / "benchmarks" / "results" / "latest.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for."""
    options = _parser().parse_args(arguments)
    if importlib.util.find_spec("gunicorn") is None:
        sys.exit("The plain twin needs gunicorn: pip install 'medqueue[bench]'")
    if options.command == "profile":
        profiling.profile(options.system, options.load, options.jobs, options.py_spy)
        return 0
    try:
        return _compare(options)
    except (LoadFailed, NotReady) as failure:
        Console(stderr=True).print(str(failure), markup=False)
        return 1


def _compare(options: argparse.Namespace) -> int:
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    plan = replace(QUICK if options.quick else FULL, seed=options.seed)
    command = "python -m benchmarks" + (" --quick" if options.quick else "") + f" --seed {plan.seed}"
    command += f" --only {' '.join(options.only)}" if options.only else ""
    chosen = [section for section in SECTIONS if not options.only or section.name in options.only]
    result = run(plan, command, lambda line: console.print(line, style="dim"), chosen)
    report.print_tables(console, result)
    if options.json:
        options.json.write_text(report.as_json(result))
    if options.add:
        result = report.added(result, report.from_json(FIGURES.read_text()))
    if options.add or (not options.quick and not options.only):
        report.write(result, PAGE, FIGURES)
        console.print(f"written: {PAGE.relative_to(ROOT)}, {FIGURES.relative_to(ROOT)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 jobs once; writes no page")
    parser.add_argument("--seed", type=int, default=FULL.seed, help="seed of the cases")
    names = [section.name for section in SECTIONS]
    parser.add_argument(
        "--only", nargs="+", choices=names, help="these sections; writes no page without --add"
    )
    parser.add_argument(
        "--add", action="store_true", help="add the sections of --only to the page, with their own date"
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    commands = parser.add_subparsers(dest="command")
    profile = commands.add_parser("profile", help="where the time of one system goes")
    profile.add_argument("--system", choices=list(SYSTEMS), default=MEDQUEUE)
    profile.add_argument("--load", choices=list(profiling.LOADS), default="clients")
    profile.add_argument("--jobs", type=int, default=5_000)
    profile.add_argument("--py-spy", default="py-spy", help="its path; without it no functions are shown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
