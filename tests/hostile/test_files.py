"""Files that cost far more to decode than to send, and children that die: one file is refused, nothing else is touched."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from models.warm import _end as end_of_child
from service.batches.files import formats
from service.batches.files.apart import reading
from service.batches.files.apart.reading import ApartReader
from service.batches.files.formats import wanted_of
from service.batches.files.layouts import ARCHIVES, BatchFormat
from service.batches.files.plans import Limits, Plan, head_of
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import Source, UriSource
from service.metrics import REGISTRY
from tests.acceptance.stack import eventually
from tests.hostile import files
from tests.unit.service.batches.files.example_batches import (
    MemorySource,
    file_of,
    good_rows,
    image,
    images,
    pipeline,
    zip_file,
)

ROOT = Path(__file__).parent.parent.parent
MORE_MB = 150
FIELDS = ("dose", "age")
LIMITS = Limits(rows=20_000)
TABLES = (BatchFormat.PARQUET, BatchFormat.CSV, BatchFormat.NDJSON)
HOLDER = """
import sys, time
from tests.hostile.test_files import held
reader = held()
print(*[child.pid for child in __import__("psutil").Process().children(recursive=True)], flush=True)
time.sleep(600)
"""

CONFINED = """
import ctypes, os, socket, threading
from service.parsing.limits import confine

def system_call(*words):
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(*words) < 0:
        raise OSError(ctypes.get_errno(), "refused")

confine(os.getppid())
thread = threading.Thread(target=print, args=("thread",), kwargs={"flush": True})
thread.start()
thread.join()
try:
    ATTEMPT
except PermissionError:
    print("refused")
"""


def planned(content: bytes, form: BatchFormat, **options: Any) -> tuple[Source, Plan]:
    source = MemorySource(content)
    model = options.pop("model", pipeline())
    return source, reading.inspect(source, form, wanted_of(model, **options), LIMITS)


def held(silent_s: float = 60.0) -> tuple[ApartReader, Plan, Any]:
    """A reader whose child has begun with a file."""
    source, plan = planned(file_of(BatchFormat.CSV, good_rows(50_000)), BatchFormat.CSV, id_column="id")
    reader = ApartReader(source.open(), plan.layout, pipeline(), LIMITS, silent_s=silent_s)
    blocks = reader.read(plan.chunks[0])
    next(blocks)
    return reader, plan, blocks


def has_ended(child: psutil.Process) -> bool:
    """Whether a process runs no longer, though nobody may have asked how it ended."""
    try:
        return child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def child_of() -> psutil.Process:
    """The child that holds a file."""
    (child,) = psutil.Process(reading.warm.pid).children()
    return child


def read_on(reader: ApartReader, plan: Plan, blocks: Any) -> None:
    """The rest of the first chunk, and the second: the first may be on its way already."""
    list(blocks)
    list(reader.read(plan.chunks[1]))


def read_all(reader: ApartReader, plan: Plan, most_bytes: int) -> None:
    """All chunks, while this process stays below so much memory."""
    for chunk in plan.chunks:
        for _ in reader.read(chunk):
            assert psutil.Process().memory_info().rss < most_bytes


def killed(reason: str) -> float:
    return REGISTRY.get_sample_value("medqueue_parsing_children_killed_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize(
    ("make", "form", "problem"),
    [
        (lambda: files.many_rows(FIELDS), BatchFormat.PARQUET, FileProblem.TOO_COSTLY),
        (files.zip_with_endless_index, BatchFormat.ZIP, FileProblem.TOO_MANY_MEMBERS),
        (files.tar_with_chained_headers, BatchFormat.TAR, FileProblem.UNREADABLE),
    ],
    ids=["rows", "index", "headers"],
)
def test_a_file_that_costs_too_much_is_refused_in_validation(
    make: Callable[[], bytes], form: BatchFormat, problem: FileProblem
) -> None:
    content = make()
    options = images() if form in ARCHIVES else {}
    before = psutil.Process().memory_info().rss
    with pytest.raises(FileRefused) as refused:
        planned(content, form, **options)
    assert refused.value.problem is problem
    assert psutil.Process().memory_info().rss < before + MORE_MB * 2**20


@pytest.mark.parametrize("size_bytes", [2**20, 2**13], ids=["in the child", "in what it sends"])
def test_a_text_that_is_in_every_row_is_refused_when_it_is_read(size_bytes: int) -> None:
    content = files.repeated_text(FIELDS, size_bytes)
    source, plan = planned(content, BatchFormat.PARQUET, carry=("note",))
    reader = reading.reader_of(source.open(), plan.layout, pipeline())
    most_bytes = psutil.Process().memory_info().rss + MORE_MB * 2**20
    with pytest.raises(FileRefused) as refused:
        read_all(reader, plan, most_bytes)
    assert refused.value.problem is FileProblem.TOO_COSTLY
    assert not psutil.Process(reading.warm.pid).children()


def test_an_id_of_megabytes_is_looked_at_in_time() -> None:
    """Hashed with the others, sixteen bytes a step, it took a minute, and its worker's other batches waited."""
    began = time.monotonic()
    source, plan = planned(files.long_ids(FIELDS), BatchFormat.PARQUET, id_column="id")
    reader = reading.reader_of(source.open(), plan.layout, pipeline())
    with pytest.raises(FileRefused) as refused:
        read_all(reader, plan, psutil.Process().memory_info().rss + 2 * MORE_MB * 2**20)
    assert refused.value.problem is FileProblem.TOO_COSTLY
    assert time.monotonic() - began < 20
    assert plan.duplicates == 14


def test_a_named_pipe_and_a_socket_below_a_root_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for name in ("pipe", "socket"):
        source = UriSource((tmp_path / name).as_uri(), [tmp_path.as_uri()])
        with pytest.raises(FileRefused) as refused:
            reading.inspect(source, BatchFormat.CSV, wanted_of(pipeline()))
        assert refused.value.problem is FileProblem.UNREADABLE


@pytest.mark.parametrize(
    ("number", "problem", "reason"),
    [
        (signal.SIGKILL, FileProblem.TOO_COSTLY, "limit"),
        (signal.SIGXCPU, FileProblem.TOO_COSTLY, "limit"),
        (signal.SIGSEGV, FileProblem.UNREADABLE, "crash"),
        (signal.SIGABRT, FileProblem.UNREADABLE, "crash"),
    ],
)
def test_a_child_that_dies_costs_its_file_alone(number: int, problem: FileProblem, reason: str) -> None:
    reader, plan, blocks = held()
    before = killed(reason)
    child = child_of()
    child.send_signal(number)
    eventually(lambda: has_ended(child), within_s=5)
    with pytest.raises(FileRefused) as refused:
        read_on(reader, plan, blocks)
    assert (refused.value.problem, killed(reason)) == (problem, before + 1)
    assert sum(block.count for block in reader.read(plan.chunks[1])) == plan.chunks[1].rows
    reader.close()


def test_a_child_that_hangs_is_ended() -> None:
    reader, plan, blocks = held(silent_s=0.5)
    child = child_of()
    child.suspend()
    with pytest.raises(FileRefused) as refused:
        read_on(reader, plan, blocks)
    assert refused.value.problem is FileProblem.TOO_COSTLY
    eventually(lambda: not child.is_running(), within_s=5)


def test_a_chunk_that_is_given_up_costs_the_next_nothing() -> None:
    reader, plan, blocks = held()
    blocks.close()
    assert [sum(block.count for block in reader.read(chunk)) for chunk in plan.chunks] == [
        chunk.rows for chunk in plan.chunks
    ]
    reader.close()
    assert not psutil.Process(reading.warm.pid).children()


def test_a_warm_process_that_dies_is_started_again() -> None:
    reader, plan, blocks = held()
    child = child_of()
    psutil.Process(reading.warm.pid).kill()
    eventually(lambda: has_ended(child), within_s=5)
    with pytest.raises(FileRefused):
        read_on(reader, plan, blocks)
    assert planned(file_of(BatchFormat.CSV, good_rows(10)), BatchFormat.CSV)[1].rows == 10


def test_a_process_that_is_killed_leaves_no_children() -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        children = [psutil.Process(int(pid)) for pid in holder.stdout.readline().split()]
        holder.kill()
    assert len(children) == 2
    eventually(lambda: not any(child.is_running() for child in children), within_s=10)


def test_a_child_holds_no_secret_and_can_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDQUEUE_MASTER_KEY", "secret")
    reading.warm.close()
    reader, _, _ = held()
    child = child_of()
    assert not any(name.startswith("MEDQUEUE") for name in child.environ())
    assert child.num_threads() <= 2
    bounded = {
        psutil.RLIMIT_DATA: 2 * 2**30,
        psutil.RLIMIT_CPU: 2 * 3600,
        psutil.RLIMIT_NOFILE: 256,
        psutil.RLIMIT_CORE: 0,
    }
    for kind, most in bounded.items():
        assert min(child.rlimit(kind)) >= 0  # -1 is without a limit
        assert max(child.rlimit(kind)) <= most
    opened = [str(each.readlink()) for each in Path(f"/proc/{child.pid}/fd").iterdir()]
    assert sum(each.startswith("socket:") for each in opened) == 1
    reader.close()


@pytest.mark.parametrize(
    "attempt",
    [
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "socket.socket()",
        "system_call(425, 1, 0)",  # io_uring, by which connections could be made that no filter sees
    ],
)
def test_a_confined_process_starts_threads_but_no_process_and_no_connection(attempt: str) -> None:
    asked = CONFINED.replace("ATTEMPT", attempt)
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["thread", "refused"]), done.stderr


def test_a_confined_process_gets_no_more_memory_than_its_limit() -> None:
    asked = "import os; from service.parsing.limits import confine; confine(os.getppid(), memory_bytes=2**26)"
    for size, expected in (("2**25", 0), ("2**28", 1)):
        done = subprocess.run(
            [sys.executable, "-c", f"{asked}; bytes({size})"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, "MemoryError" in done.stderr) == (expected, bool(expected)), done.stderr


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGXCPU, signal.SIGKILL])
def test_a_child_that_was_not_reaped_yet_ended_as_it_ended(number: int) -> None:
    """Its connection is closed before the system says how it ended."""
    child = subprocess.Popen(["/bin/sleep", "60"])
    child.send_signal(number)
    eventually(lambda: has_ended(psutil.Process(child.pid)), within_s=5)
    assert end_of_child({child.pid: None}, child.pid) == -number
    child.returncode = -number  # it is reaped


@pytest.mark.parametrize("form", TABLES)
def test_a_child_reads_what_this_process_would(form: BatchFormat, tmp_path: Path) -> None:
    """From memory, where it asks for every byte, and from a file of this machine, which it reads itself."""
    path = tmp_path / "rows"
    path.write_bytes(content := file_of(form, good_rows(40_000)))
    wanted = wanted_of(pipeline(), id_column="id")
    local = UriSource(path.as_uri(), [tmp_path.as_uri()])
    for source in (MemorySource(content), local):
        plan = reading.inspect(source, form, wanted, LIMITS)
        expected_plan = formats.inspect(source, form, wanted, LIMITS)
        assert head_of(plan) == head_of(expected_plan)
        assert [each.as_bytes() for each in plan.chunks] == [each.as_bytes() for each in expected_plan.chunks]
        reader = reading.reader_of(source.open(), plan.layout, pipeline())
        here = formats.reader_of(source.open(), plan.layout, pipeline())
        for chunk in plan.chunks:
            for found, expected in zip(reader.read(chunk), here.read(chunk), strict=True):
                assert found.carried.equals(expected.carried)
                for one, other in zip(found.numbers, expected.numbers, strict=True):
                    np.testing.assert_array_equal(one.values, other.values)
                    np.testing.assert_array_equal(one.missing, other.missing)
        reader.close()


def test_a_child_reads_the_files_of_an_archive() -> None:
    content = zip_file([(f"{number:02d}.png", image(number)) for number in range(20)])
    source, plan = planned(content, BatchFormat.ZIP, **images())
    reader = reading.reader_of(source.open(), plan.layout, images()["model"])
    (block,) = reader.read(plan.chunks[0])
    assert block.files == [image(number) for number in range(20)]
    reader.close()
