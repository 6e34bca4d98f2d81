"""`python -m benchmarks.gpu`: check and measure what needs a GPU, in eight minutes at most."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import report
from benchmarks.gpu.checks import CHECKS, OK, Found, look, look_apart, written
from benchmarks.gpu.device import Device
from service import logs
from service.config import Provider

LIMIT_S = 450.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; 1 when one failed or was not run. What was found is written after each."""
    options = _parser().parse_args(arguments)
    logs.configure("ERROR")
    device = Device(Provider(options.device), options.quick)
    if options.check:
        print(json.dumps(written(look(options.check, device))))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    began, findings = time.monotonic(), list[Found]()
    for name in options.only or CHECKS:
        found = look_apart(name, device, options.limit_s - (time.monotonic() - began))
        findings.append(found)
        _tell(found)
        table = report.content(device, findings, time.monotonic() - began)
        (options.out / "gpu.json").write_text(json.dumps(table, indent=1) + "\n")
        (options.out / "gpu.md").write_text(report.section(table))
    return 0 if all(found.outcome == OK for found in findings) else 1


def _tell(found: Found) -> None:
    print(f"{found.name}: {found.outcome} in {found.took_s:.1f} s. {found.reason}".rstrip(), flush=True)
    for each in found.figures:
        print(f"    {each.label}: {each.text} {each.unit}".rstrip(), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu proves all but the GPU itself"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few runs and jobs: proves, and measures nothing"
    )
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), help="these checks")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for gpu.json and gpu.md")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="what does not fit into it is not run")
    parser.add_argument("--check", choices=list(CHECKS), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
