"""Where the time of one system goes: CPU by component, functions by process, statements by duration.

An aid to tuning, apart from the comparison: sampling and logging slow what they look at. Two samplers are used
when they are there, and neither is a dependency: py-spy (`pip install py-spy` anywhere, and name it with --py-spy)
sees Python functions while they hold the interpreter lock, perf sees native ones and the kernel. Both must be
allowed to trace, which root is.
"""

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import cases, cpu
from benchmarks.plan import FULL
from benchmarks.sections import bulk, idle
from benchmarks.sections.many_clients import Record, fetch_all, submit_all
from benchmarks.system import System
from benchmarks.systems import SYSTEMS
from benchmarks.warm_up import warm_up
from benchmarks.wire import drive

SAMPLES_PER_S = 250
SHOWN = 25
LEAST_SAMPLES = 20
EVERYWHERE = 0.9  # a function in more stacks than this only says that the process runs
SERVERS = frozenset({"postgres", "redis"})
LINE = re.compile(r":\d+\)$")
DURATION = re.compile(
    r"duration: ([\d.]+) ms  (parse|bind|execute|statement)[^:]*: (.*?)(?=^\S+ \S+ \S+ \[\d+\] |\Z)",
    re.DOTALL | re.MULTILINE,
)
NATIVE = re.compile(r"^ +([\d.]+)% +(\S+) +\[.\] +(\S+)", re.MULTILINE)
THREAD = re.compile(r'^Thread (\d+) \(.*?\): "(.*)"$', re.MULTILINE)
SPACE = re.compile(r"\s+")

Folded = Counter[tuple[str, ...]]
Shares = list[tuple[str, str]]
Load = Callable[[System, int], None]


@dataclass(frozen=True)
class Watched:
    """One sampler at work, and where it will write."""

    name: str
    output: Path
    process: subprocess.Popen[bytes]


def profile(name: str, load: str, jobs: int, py_spy: str) -> None:
    """Start the system, warm it up, run the load three times under observation, print what was seen."""
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="medqueue-profile-") as scratch:
        folder = Path(scratch) / "data"
        with SYSTEMS[name](folder) as system:
            warm_up(system, FULL)
            used, threads = _unobserved(system, LOADS[load], jobs, py_spy)
            native = _native(system, LOADS[load], jobs, Path(scratch))
            stacks = _python(system, LOADS[load], jobs, py_spy, Path(scratch))
            statements = _logged(system, LOADS[load], jobs, folder / "log" / "postgres.log")
    _print_components(console, used, jobs)
    _print_threads(console, threads, jobs)
    for component, shares in native.items():
        _print_shares(console, f"{component}: native functions", shares)
    for process, folded in stacks.items():
        _print_python(console, process, folded)
    _print_statements(console, statements, jobs)


def _clients(system: System, jobs: int) -> None:
    record = Record()
    submit_all(system, [cases.body(case) for case in cases.inputs(jobs, FULL.seed)], FULL.clients, record)
    system.wait_for(record.ids)
    fetch_all(system, FULL.clients, record)


def _bulk(system: System, jobs: int) -> None:
    ids: list[str] = []
    wanted = bulk.requests(system, jobs, FULL.bulk_size, FULL.seed)
    shares = [wanted[client :: FULL.bulk_clients] for client in range(FULL.bulk_clients)]
    drive(system.port, [bulk.submitting(share, ids, []) for share in shares])
    system.wait_for(ids)


def _idle(system: System, jobs: int) -> None:
    plan = replace(FULL, probe_jobs=jobs)
    drive(system.port, [idle.polling(system, plan, idle.probes(plan), [])])


LOADS: dict[str, Load] = {"clients": _clients, "bulk": _bulk, "idle": _idle}


def _unobserved(system: System, load: Load, jobs: int, py_spy: str) -> tuple[cpu.Seconds, cpu.Seconds]:
    """CPU seconds by component, and by thread or Postgres process."""
    names = _thread_names(system, py_spy)
    before, threads = system.cpu(), _threads(system)
    load(system, jobs)
    used: defaultdict[str, float] = defaultdict(float)
    for (title, number), seconds in _threads(system).items():
        used[names.get(number, title)] += seconds - threads.get((title, number), 0.0)
    return cpu.between(before, system.cpu()), used


def _threads(system: System) -> dict[tuple[str, int], float]:
    """CPU seconds so far of every thread, by its process's title and its own number."""
    used: dict[tuple[str, int], float] = {}
    for component, root in system.roots.items():
        for process in cpu.tree(root):
            with suppress(psutil.NoSuchProcess):  # a server process of Postgres may end meanwhile
                title = _title(component, process)
                used |= {(title, each.id): each.user_time + each.system_time for each in process.threads()}
    return used


def _title(component: str, process: psutil.Process) -> str:
    """`postgres: walwriter` and the like; for other components their name and the process id."""
    if component == "postgres":
        return " ".join(" ".join(process.cmdline()).split()[:4])
    return f"{component} {process.pid}: unnamed threads"


def _thread_names(system: System, py_spy: str) -> dict[int, str]:
    """Names of the Python threads that have one, by thread number."""
    if shutil.which(py_spy) is None:
        return {}
    names = {}
    for component in set(system.roots) - SERVERS:
        for process in cpu.tree(system.roots[component]):
            dump = [py_spy, "dump", "--pid", str(process.pid)]
            text = subprocess.run(dump, capture_output=True, text=True, check=False).stdout
            for number, name in THREAD.findall(text):
                names[int(number)] = f"{component} {process.pid}: {name}"
    return names


@contextmanager
def _sampling(watched: Sequence[Watched]) -> Iterator[None]:
    time.sleep(2)  # a sampler needs a moment to attach
    try:
        yield
    finally:
        for each in watched:
            each.process.send_signal(signal.SIGINT)
        for each in watched:
            each.process.wait()


def _sampler(name: str, output: Path, command: Sequence[str]) -> Watched:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Watched(name, output, process)


def _native(system: System, load: Load, jobs: int, folder: Path) -> dict[str, Shares]:
    """Share, library and function of each component, as perf saw them."""
    if shutil.which("perf") is None:
        return {}
    watched = []
    for name, root in system.roots.items():
        pids = ",".join(str(process.pid) for process in cpu.tree(root))
        output = folder / f"{name}.perf"
        command = [
            "perf",
            "record",
            "-e",
            "cpu-clock",
            "-F",
            str(SAMPLES_PER_S),
            "-p",
            pids,
            "-o",
            str(output),
        ]
        watched.append(_sampler(name, output, command))
    with _sampling(watched):
        load(system, jobs)
    return {each.name: _native_shares(each.output) for each in watched}


def _native_shares(output: Path) -> Shares:
    command = ["perf", "report", "-i", str(output), "--stdio", "--sort", "dso,symbol", "-g", "none"]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = [(float(share), library, function) for share, library, function in NATIVE.findall(text)]
    libraries: Counter[str] = Counter()
    for share, library, _ in found:
        libraries[library] += share  # type: ignore[assignment]  # a Counter adds floats as well
    whole = [(f"{share:.1f} %", f"{library} in all") for library, share in libraries.most_common(5)]
    return whole + [(f"{share:.1f} %", f"{library}: {function}") for share, library, function in found]


def _python(system: System, load: Load, jobs: int, py_spy: str, folder: Path) -> dict[str, Folded]:
    """Call stacks by process, of those that had something to do, as py-spy saw them."""
    if shutil.which(py_spy) is None:
        return {}
    watched = []
    for name in sorted(set(system.roots) - SERVERS):
        for process in cpu.tree(system.roots[name]):
            output = folder / f"{process.pid}.folded"
            watched.append(_sampler(f"{name} {process.pid}", output, _py_spy(py_spy, process, output)))
    with _sampling(watched):
        load(system, jobs)
    stacks = {each.name: _folded(each.output) for each in watched}
    return {name: folded for name, folded in stacks.items() if folded.total() >= LEAST_SAMPLES}


def _py_spy(py_spy: str, process: psutil.Process, output: Path) -> list[str]:
    return [
        py_spy, "record", "--pid", str(process.pid), "--rate", str(SAMPLES_PER_S), "--duration", "600", "--gil",
        "--format", "raw", "--output", str(output),
    ]  # fmt: skip


def _folded(path: Path) -> Folded:
    """Stacks of functions, without line numbers, and how often each was seen."""
    stacks: Folded = Counter()
    with suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            frames, count = line.rsplit(" ", 1)
            stacks[tuple(LINE.sub(")", frame) for frame in frames.split(";"))] += int(count)
    return stacks


def _logged(system: System, load: Load, jobs: int, log: Path) -> dict[tuple[str, str], list[float]]:
    """Durations in ms of every statement, by its first words and phase."""
    start = log.stat().st_size
    _log_statements(system, "0")
    load(system, jobs)
    _log_statements(system, "-1")
    with log.open() as lines:
        lines.seek(start)
        text = lines.read()
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for took_ms, phase, statement in DURATION.findall(text):
        found[SPACE.sub(" ", statement).strip()[:90], phase].append(float(took_ms))
    return found


def _log_statements(system: System, least_ms: str) -> None:
    with psycopg.connect(system.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET log_min_duration_statement = {least_ms}".encode())
        connection.execute("SELECT pg_reload_conf()")
    time.sleep(0.3)


def _print_components(console: Console, used: cpu.Seconds, jobs: int) -> None:
    shares = [(f"{seconds * 1000 / jobs:.3f}", name) for name, seconds in sorted(used.items())]
    total = f"{sum(used.values()) * 1000 / jobs:.3f}"
    _print_shares(console, "CPU seconds per 1,000 jobs, unobserved", [*shares, (total, "all")])


def _print_threads(console: Console, used: cpu.Seconds, jobs: int) -> None:
    shares = [
        (f"{seconds * 1000 / jobs:.3f}", name)
        for name, seconds in sorted(used.items(), key=lambda item: -item[1])
    ]
    _print_shares(console, "CPU seconds per 1,000 jobs by thread and process, unobserved", shares)


def _print_python(console: Console, process: str, folded: Folded) -> None:
    """The functions that hold the most samples, by themselves and with what they call."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in folded.items():
        own[stack[-1]] += count
        for frame in set(stack):
            within[frame] += count
    for title, counts in (("by themselves", own), ("with what they call", within)):
        _print_shares(console, f"{process}: Python functions {title}", _shares(counts, folded.total()))


def _shares(counts: Counter[str], total: int) -> Shares:
    telling = [item for item in counts.most_common() if item[1] < EVERYWHERE * total]
    return [(f"{100 * count / total:.1f} %", frame) for frame, count in telling]


def _print_shares(console: Console, title: str, shares: Shares) -> None:
    table = Table("share", "where", title=title, title_justify="left")
    for row in shares[:SHOWN]:
        table.add_row(*map(escape, row))  # perf writes names in brackets
    console.print(table)


def _print_statements(console: Console, found: dict[tuple[str, str], list[float]], jobs: int) -> None:
    columns = ("ms per 1,000 jobs", "calls", "mean ms", "phase", "statement")
    table = Table(*columns, title="Postgres: statements by duration, waits included", title_justify="left")
    for (statement, phase), took in sorted(found.items(), key=lambda item: -sum(item[1]))[:SHOWN]:
        mean = sum(took) / len(took)
        table.add_row(f"{sum(took) * 1000 / jobs:.0f}", str(len(took)), f"{mean:.3f}", phase, statement)
    console.print(table)
