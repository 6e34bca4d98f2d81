"""`make mutants`: change the pure parts one expression at a time, and see whether a test notices.

mutmut (`[tool.mutmut]` in pyproject.toml) makes the mutants in `mutants/`, a copy, and forks a process for each, which
runs the tests that reach the changed function. Here: what is changed and which tests are asked, a sample, a second try
alone for mutants that ran out of time, and the score. Texts for people (string literals with a space) stay as they are:
no program relies on them. Survivors that nobody could tell from the original are in `equivalent_mutants.toml`.
"""

import argparse
import bisect
import functools
import itertools
import os
import random
import re
import resource
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import libcst
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation import mutators
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.workers.isolation import ForkRunner

BATCHES, WORKERS = "tests/unit/service/batches", "tests/unit/workers"
PARTS = {
    "models": ["tests/unit/models", "tests/unit/service/test_json_rule.py", "tests/unit/service/test_cli_checks.py"],
    "service/batches/files": [
        *(f"{BATCHES}/files", "tests/integration/test_batch_web_sources.py"),
        *(f"{WORKERS}/test_chunk_{about}.py" for about in ("parity", "scoring")),
    ],
    "service/batches/recurrence.py": [f"{BATCHES}/test_recurrence.py", f"{BATCHES}/test_recurrence_all_zones.py"],
    "service/batches/windows.py": [f"{BATCHES}/test_windows.py"],
    "service/egress.py": ["tests/unit/service/test_egress.py"],
    "workers/webhooks/outbound.py": [
        *(f"{WORKERS}/test_outbound{about}.py" for about in ("", "_ssrf")),
        *(f"tests/integration/test_outbound{about}.py" for about in ("", "_reuse", "_tls")),
    ],
}  # fmt: skip
PACKAGES = ("models", "service", "workers", "tests")
MUTANTS = Path("mutants")
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
# zip's check of ourselves: without it nothing changes, unless we are wrong; and the comma that it leaves
CHECK = re.compile(r",?\s*\bstrict=\w+|,\s*(?=\))")
ENOUGH = 0.85
# Of the tests that reach a mutant the quickest are run, so long together: a few reach all of models/, and take minutes.
TESTS_S = 10.0
MOST_MEMORY_BYTES = 24 << 30  # of address space: a loop that has lost its end must not take the machine


def main() -> int:
    """Try the mutants that were asked for and say what became of them: 0 if enough were killed."""
    asked = _asked()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    shutil.rmtree(MUTANTS, ignore_errors=True)
    _choose(Path(asked.room), asked.tests)
    _leave_texts_alone()
    _reach_decorated_functions()
    _forget_what_is_cached()
    _run_the_quickest_tests()
    _run_each_test_once_unchanged()
    names = _sample(list(_mutants(asked.processes)), asked.sample, asked.seed)
    if not names:
        print(f"{asked.room} has no function to change, or is none of: {', '.join(PARTS)}")
        return 1
    mutmut._run(names, asked.processes)
    if late := [name for name, outcome in _outcomes(names) if outcome == "timeout"]:
        print(f"\n{len(late)} ran out of time; once more, one at a time")
        mutmut._run(late, 1)
    return _report(names, asked)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", nargs="?", default=".", help="a folder or a file; everything if omitted")
    parser.add_argument("--tests", nargs="+", help="files of tests; those of the part if omitted")
    parser.add_argument("--sample", type=int, default=0, help="try so many, drawn at random; all if omitted")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeats a sample")
    parser.add_argument("--processes", type=int, default=1)
    return parser.parse_args()


def _choose(room: Path, tests: Sequence[str] | None) -> None:
    parts = [part for part in PARTS if Path(part).is_relative_to(room) or room.is_relative_to(part)]
    changed = [str(room) if room.is_relative_to(part) else part for part in parts]
    config().only_mutate = [path if path.endswith(".py") else f"{path}/*" for path in changed]
    config().pytest_add_cli_args_test_selection = tests or [test for part in parts for test in PARTS[part]]


def _leave_texts_alone() -> None:
    def other_strings(node: libcst.BaseString) -> Iterable[libcst.BaseString]:
        is_text = isinstance(node, libcst.SimpleString) and " " in node.value
        return () if is_text else mutators.operator_string(node)

    operators = mutators.mutation_operators
    operators[:] = [(kind, other_strings if op is mutators.operator_string else op) for kind, op in operators]


def _reach_decorated_functions() -> None:
    mutate = mutmut.mutate_file_contents

    def mutate_bared(filename: str, code: str, *lines: set[int] | None) -> object:
        module = libcst.parse_module(code)
        return mutate(filename, module.with_changes(body=list(_bared(module.body))).code, *lines)

    mutmut.mutate_file_contents = mutate_bared


def _bared(statements: Iterable[libcst.BaseStatement]) -> Iterator[libcst.BaseStatement]:
    """Statements with `@d def f` as `def f_bare` and `f = d(f_bare)`: mutmut leaves decorated functions alone."""
    for statement in statements:
        if isinstance(statement, libcst.ClassDef) and isinstance(statement.body, libcst.IndentedBlock):
            body = statement.body.with_changes(body=list(_bared(statement.body.body)))
            yield statement.with_changes(body=body)
        elif isinstance(statement, libcst.FunctionDef) and statement.decorators and _says_more(statement):
            name = libcst.Name(f"{statement.name.value}_bare")
            value: libcst.BaseExpression = name
            for decorator in reversed(statement.decorators):
                value = libcst.Call(decorator.decorator, [libcst.Arg(value)])
            yield statement.with_changes(decorators=(), name=name)
            assignment = libcst.Assign([libcst.AssignTarget(statement.name)], value)
            yield libcst.SimpleStatementLine([assignment])
        else:
            yield statement


def _says_more(function: libcst.FunctionDef) -> bool:
    """Whether a function has more to it than its docstring, as those of a protocol have not."""
    return len(function.body.body) > 1 or function.get_docstring() is None


class _Forgetful:
    """Forgets what caches hold: else the first test alone would be seen to reach a function, and no mutant be asked."""

    def pytest_runtest_setup(self) -> None:
        cached = type(functools.cache(len))
        ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES]
        for value in [value for module in ours for value in vars(module).values()]:
            if isinstance(value, cached):
                value.cache_clear()


class _ProcessorTime:
    """Measures tests by the processor time that they and their processes take: on a busy machine none becomes slow."""

    def pytest_runtest_logstart(self) -> None:
        self._began = sum(os.times()[:4])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        state().duration_by_test[nodeid] = sum(os.times()[:4]) - self._began


def _forget_what_is_cached() -> None:
    execute = PytestRunner.execute_pytest

    def execute_anew(runner: PytestRunner, params: list[str], **options: Any) -> int:
        _Forgetful().pytest_runtest_setup()
        if plugins := options.get("plugins"):  # it is noted which test reaches what
            options["plugins"] = [*plugins, _Forgetful(), _ProcessorTime()]
        return int(execute(runner, params, **options))

    PytestRunner.execute_pytest = execute_anew


def _run_the_quickest_tests() -> None:
    submit = ForkRunner.submit

    def submit_fewer(
        runner: ForkRunner, mutant: str, tests: list[str], cpu_limit_s: int, estimated_s: float
    ) -> None:
        durations = state().duration_by_test
        quickest = sorted(tests, key=durations.__getitem__)
        lasting = list(itertools.accumulate(durations[test] for test in quickest))
        count = max(bisect.bisect(lasting, TESTS_S), 1)
        submit(runner, mutant, quickest[:count], cpu_limit_s, lasting[count - 1])

    ForkRunner.submit = submit_fewer


def _run_each_test_once_unchanged() -> None:
    """Noting which tests reach what runs all of them, and stops at one that fails: no need to run them again."""
    ForkRunner.run_clean_tests = lambda _runner, tests: 0


def _mutants(processes: int) -> Iterator[str]:
    MUTANTS.mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.create_mutants(processes)
    mutants, _ = mutmut.collect_source_file_mutation_data(mutant_names=())
    yield from (name for _, name, _ in mutants)


def _sample(names: list[str], size: int, seed: int) -> list[str]:
    return random.Random(seed).sample(sorted(names), min(size, len(names))) if size else names


def _outcomes(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    wanted = set(names)
    mutants, _ = mutmut.collect_source_file_mutation_data(mutant_names=())
    for _, name, code in mutants:
        if name in wanted:
            yield name, status_by_exit_code[code]


def _report(names: Sequence[str], asked: argparse.Namespace) -> int:
    equivalent = {
        (each["file"], change)
        for each in tomllib.loads(EQUIVALENT.read_text())["equivalent"]
        for change in each["changes"]
    }
    counts: Counter[str] = Counter()
    for name, outcome in _outcomes(names):
        found = outcome
        if outcome not in {"killed", "timeout"}:
            diff = mutmut.get_diff_for_mutant(name)
            if _change(diff) in equivalent or _is_check_alone(diff):
                found = "equivalent"
            else:
                print(f"\n{name}: {outcome}\n{diff}")
        counts[found] += 1
    told = counts.total() - counts["equivalent"]
    # A mutant that runs without end even by itself is noticed: the gate would not pass.
    killed = counts["killed"] + counts["timeout"]
    print(f"\nseed {asked.seed}: " + ", ".join(f"{count} {found}" for found, count in sorted(counts.items())))
    print(f"{killed} of {told} killed, {killed / max(told, 1):.1%}; {ENOUGH:.0%} are asked for")
    return 0 if killed >= ENOUGH * told else 1


def _is_check_alone(diff: str) -> bool:
    _, _, *lines = diff.splitlines()
    before, after = (
        "".join(CHECK.sub("", line[1:]).strip() for line in lines if line[0] == sign) for sign in "-+"
    )
    return before == after


def _change(diff: str) -> tuple[str, str]:
    """File and changed lines of a diff, as `equivalent_mutants.toml` has them."""
    head, _, *lines = diff.splitlines()
    changed = (line[0] + " " + line[1:].strip() for line in lines if line[0] in "+-" and line[1:].strip())
    return head.removeprefix("--- ").strip(), "\n".join(changed)


if __name__ == "__main__":
    sys.exit(main())
