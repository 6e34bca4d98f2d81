"""The metrics of the processes of one API, merged from their files."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from service import metrics


def ended_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def write(folder: Path, kind: str, pid: int, name: str, value: float) -> None:
    """A file as prometheus_client writes it in a server process."""
    kept = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
    kept.write_value(mmap_key(name, name, [], [], "Help."), value, 0.0)  # type: ignore[no-untyped-call]
    kept.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(metrics, "FOLDER", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def test_gauges_of_an_ended_process_are_dropped_and_its_counts_kept(folder: Path) -> None:
    for pid in (os.getpid(), ended_pid()):
        write(folder, "gauge_livesum", pid, "waiting", 3)
        write(folder, "counter", pid, "answered_total", 5)
    text = metrics.exposition().decode()
    assert "\nwaiting 3.0\n" in text
    assert "\nanswered_total 10.0\n" in text


def test_scrapes_at_the_same_time_after_a_crash_are_all_answered(folder: Path) -> None:
    together = threading.Barrier(8)

    def scrape(_: int) -> bytes:
        together.wait(10)
        return metrics.exposition()

    write(folder, "gauge_livesum", os.getpid(), "waiting", 3)
    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            for mode in ("livesum", "livemax", "livemin"):
                write(folder, f"gauge_{mode}", ended_pid(), "waiting", 4)
            assert all(b"\nwaiting 3.0\n" in text for text in threads.map(scrape, range(8)))


FORKED = """
import os
from pathlib import Path
from service import metrics

metrics.leave_to_server_processes()
if child := os.fork():
    os.waitpid(child, 0)
else:
    metrics.begin_server_process()
    text = metrics.exposition().decode()
    print(*{metrics._pid_of(path) for path in Path(metrics.FOLDER).glob("*.db")} ^ {os.getpid()}, "others")
    print("medqueue_resident_memory_bytes 0" in text, "none counted", flush=True)
    os._exit(0)
"""


def test_a_forked_server_process_counts_from_its_start_and_the_one_that_forked_it_never(
    tmp_path: Path,
) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    program = [sys.executable, "-c", FORKED]
    told = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("others\nFalse none counted\n", "")
