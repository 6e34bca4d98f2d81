"""The metrics of the processes of one API, merged from their files."""

import os
import subprocess
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
