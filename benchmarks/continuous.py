"""`python -m benchmarks.continuous`: CPU of a worker that writes texts of mixed length, in three ways and beside a bare loop.

The model is that of `decoder`. Prompts and texts are as long as dialogues and notes of MTS-Dialog are, drawn from log-normal
distributions. Three ways: batches of prompts of one length, whose texts leave as they end (without left padding); batches of
a claim, of any length; and continuous batching, where jobs that wait join. All must give the same texts.

The bare loop, one process, runs the same graph with one thread and takes the token with the highest score, for prompts of one
length and texts of one length; it checks, encrypts and accounts for nothing.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil

from benchmarks import cpu, decoder
from benchmarks.processes import free_port, running, wait_until_ready
from models.sandbox import cpu_session

NOTES, ROWS = 64, 16
READ, WRITTEN = (4.5, 0.8), (3.0, 1.1)  # mean and deviation of the logarithm of tokens
LEAST_READ, LEAST_WRITTEN = 8, 4
BARE_READ, BARE_WRITTEN = 96, 128
REPEATS = 3
SEED = 20261129
WITHIN_S = 600
WRITER, STATIC = "random-writer", "static-writer"


class Note(NamedTuple):
    """A job: its prompt, and of how many tokens the text is."""

    prompt: str
    tokens: int


class Measured(NamedTuple):
    """CPU seconds of the worker, and the texts."""

    cpu_s: float
    texts: list[str]


def notes(seed: int) -> list[Note]:
    """Notes of mixed length."""
    chance = np.random.default_rng(seed)
    reads, writes = (np.exp(chance.normal(*each, NOTES)).round().astype(int) for each in (READ, WRITTEN))
    return [
        Note(
            decoder.prompt(chance, min(max(read, LEAST_READ), decoder.MOST_READ)),
            min(max(written, LEAST_WRITTEN), decoder.MOST_WRITTEN),
        )
        for read, written in zip(reads.tolist(), writes.tolist(), strict=True)
    ]


def alike(seed: int) -> list[Note]:
    """Notes of one length."""
    chance = np.random.default_rng(seed)
    return [Note(decoder.prompt(chance, BARE_READ), BARE_WRITTEN) for _ in range(ROWS)]


class Worker:
    """A stack with one worker."""

    def __init__(self, port: int, data: Path, root: int) -> None:
        key = (data / "admin.key").read_text().strip()
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        )
        self._pid = next(
            process.pid for process in psutil.Process(root).children(recursive=True) if _scores(process)
        )

    def write(self, model: str, asked: Sequence[Note]) -> Measured:
        """Submit all at once and wait for the texts."""
        jobs = [
            {"model": model, "input": {"text": each.prompt}, "options": {"max_new_tokens": each.tokens}}
            for each in asked
        ]
        before = cpu.read({"worker": self._pid})
        answer = self._http.post("/v1/jobs/bulk", json={"jobs": jobs})
        answer.raise_for_status()
        ids = [item["id"] for item in answer.json()["items"]]
        ended = [self._ended(job_id) for job_id in ids]
        used = cpu.between(before, cpu.read({"worker": self._pid}))
        for job, each in zip(ended, asked, strict=True):
            if job["result"]["new_tokens"] != each.tokens:
                sys.exit(f"a text of {job['result']['new_tokens']} tokens instead of {each.tokens}")
        return Measured(used["worker"], [job["result"]["text"] for job in ended])

    def _ended(self, job_id: str) -> dict[str, Any]:
        until = time.monotonic() + WITHIN_S
        while True:
            job: dict[str, Any] = self._http.get(f"/v1/jobs/{job_id}").json()
            if job["state"] == "succeeded":
                return job
            if job["state"] in ("failed", "quarantined") or time.monotonic() > until:
                sys.exit(f"not written: {job}")
            time.sleep(0.2)


def _scores(process: psutil.Process) -> bool:
    words = " ".join(process.cmdline())
    return "workers.app" in words and "score" in words


@contextmanager
def worker(data: Path, bundles: Sequence[Path], log: Path, **settings: str) -> Iterator[Worker]:
    """A stack over `data`, with these bundles published."""
    port = free_port()
    command = [sys.executable, "-m", "service.cli"]
    up = [*command, "up", "--port", str(port), "--data-dir", str(data), "--workers", "1"]
    with running(up, settings, log) as root:
        wait_until_ready(port, log)
        for bundle in bundles:
            subprocess.run([*command, "models", "publish", str(bundle), "--data-dir", str(data)], check=True)
        yield Worker(port, data, root)


def bare_loop(model: Path, asked: Sequence[Note]) -> Measured:
    """The same texts by a loop that does nothing else; of notes of one length."""
    session = cpu_session(model)
    names = [output.name for output in session.get_outputs()]
    ids = np.array([[int(word[4:]) for word in each.prompt.split()] for each in asked])
    rows, length = ids.shape
    empty = np.zeros((rows, decoder.HEADS, 0, decoder.SIZE), np.float32)
    past = {name.replace("present", "past_key_values"): empty for name in names[1:]}
    written = np.zeros((rows, 0), np.int64)
    began = time.process_time()
    while written.shape[1] < asked[0].tokens:
        total = length + written.shape[1]
        places = np.tile(np.arange(total - ids.shape[1], total), (rows, 1))
        feeds = {"input_ids": ids, "attention_mask": np.ones((rows, total), np.int64), "position_ids": places}
        logits, *present = session.run(names, feeds | past)
        past = dict(zip(past, present, strict=True))
        ids = logits[:, -1].argmax(axis=1)[:, None]
        written = np.concatenate([written, ids], axis=1)
    used = time.process_time() - began
    return Measured(used, [" ".join(f"word{token}" for token in row) for row in written.tolist()])


def measure(folder: Path, repeats: int) -> None:
    """Measure and print."""
    bundle, static = folder / WRITER, folder / STATIC
    for place, name, padded in ((bundle, WRITER, True), (static, STATIC, False)):
        decoder.write_bundle(place)
        manifest = (place / "manifest.toml").read_text().replace(f'"{WRITER}"', f'"{name}"')
        (place / "manifest.toml").write_text(
            manifest if padded else manifest.replace("left_padding = true\n", "")
        )
        subprocess.run(
            [sys.executable, "-m", "service.cli", "models", "seal", "--golden", str(place)], check=True
        )
    mixed, same, data = notes(SEED), alike(SEED), folder / "data"
    print(f"{NOTES} texts, {sum(each.tokens for each in mixed):,} tokens written, {ROWS} at most at a time")
    ways: dict[str, list[Measured]] = {}
    shares, bare = list[float](), list[Measured]()
    with worker(data, [bundle, static], folder / "log") as first:
        first.write(WRITER, mixed[:2])
        first.write(STATIC, mixed[:2])
        for _ in range(repeats):
            ways.setdefault("batches of one length", []).append(first.write(STATIC, mixed))
            ways.setdefault("continuous", []).append(first.write(WRITER, mixed))
            served, loop = first.write(WRITER, same), bare_loop(bundle / "model.onnx", same)
            shares.append(loop.cpu_s / served.cpu_s)
            bare.append(loop)
            _check_same(served, loop)
    with worker(data, [], folder / "log", MEDQUEUE_JOIN_S="0") as second:
        second.write(WRITER, mixed[:2])
        for _ in range(repeats):
            ways.setdefault("batches of a claim", []).append(second.write(WRITER, mixed))
    _report(ways, shares)


def _report(ways: dict[str, list[Measured]], shares: Sequence[float]) -> None:
    texts = ways["continuous"][0].texts
    seconds = {way: [each.cpu_s for each in found] for way, found in ways.items()}
    continuous = statistics.median(seconds["continuous"])
    print("| way | CPU of the worker, s | continuous batching takes of it |")
    print("| --- | --- | --- |")
    for way, found in seconds.items():
        for each in ways[way]:
            _check_same(each, Measured(0, texts))
        middle = statistics.median(found)
        print(f"| {way} | {middle:.1f} ({min(found):.1f} to {max(found):.1f}) | {continuous / middle:.0%} |")
    middle = statistics.median(shares)
    told = f"{middle:.0%} ({min(shares):.0%} to {max(shares):.0%})"
    print(f"tokens per CPU second of the worker beside a bare loop, {ROWS} texts of one length: {told}")


def _check_same(some: Measured, others: Measured) -> None:
    """Ends the program if texts differ."""
    if different := sum(one != other for one, other in zip(some.texts, others.texts, strict=True)):
        sys.exit(f"{different} texts differ")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.continuous", description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        measure(Path(folder), options.repeats)


if __name__ == "__main__":
    main()
