"""`python -m benchmarks.continuous`: CPU of a worker that writes texts of mixed length, beside static batches and a bare loop.

The model is that of `decoder`. Prompts and texts have about the lengths of dialogues and notes of MTS-Dialog, drawn from
log-normal distributions that are somewhat narrower. Three ways, which must give the same texts:

- static batches, in a bare loop: ROWS at a time in the order in which they came, prompts padded in front to the longest; all
  rows run until the longest text is finished, as a call of `generate` in Transformers does for a batch;
- the service without left padding: batches of prompts of one length, whose texts leave as they end;
- the service with continuous batching, where jobs that wait join.

The bare loop, one process, runs the same graph with one thread and takes the token with the highest score; it checks, encrypts
and accounts for nothing. So the static batches cost here less than they would as jobs.
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
from onnxruntime import InferenceSession

from benchmarks import cpu, decoder
from benchmarks.processes import free_port, running, wait_until_ready
from models.sandbox import cpu_session

NOTES, ROWS = 64, 16
READ, WRITTEN = (
    (4.5, 0.8),
    (3.0, 1.1),
)  # mean and deviation of the logarithm of tokens; 1,201 notes: 0.9 and 1.4
LEAST_READ, LEAST_WRITTEN = 8, 4
BARE_READ, BARE_WRITTEN = 96, 128
REPEATS = 3
SEED = 20261129
WITHIN_S = 600
WRITER, ONE_LENGTH = "random-writer", "one-length-writer"


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


def static_batches(model: Path, asked: Sequence[Note]) -> Measured:
    """The same texts by a loop that does nothing else, in static batches."""
    session = cpu_session(model)
    texts, began = list[str](), time.process_time()
    for first in range(0, len(asked), ROWS):
        texts += _static_batch(session, asked[first : first + ROWS])
    return Measured(time.process_time() - began, texts)


def _static_batch(session: InferenceSession, asked: Sequence[Note]) -> list[str]:
    """Texts of one batch: every row runs until the longest text is finished."""
    prompts = [[int(word[4:]) for word in each.prompt.split()] for each in asked]
    length, rows = max(map(len, prompts)), len(prompts)
    ids, mask = np.zeros((rows, length), np.int64), np.zeros((rows, length), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :], mask[row, length - len(prompt) :] = prompt, 1
    names = [output.name for output in session.get_outputs()]
    empty = np.zeros((rows, decoder.HEADS, 0, decoder.SIZE), np.float32)
    past = {name.replace("present", "past_key_values"): empty for name in names[1:]}
    places, written = np.maximum(mask.cumsum(axis=1) - 1, 0), list[Any]()
    while len(written) < max(each.tokens for each in asked):
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        logits, *present = session.run(names, feeds | past)
        past = dict(zip(past, present, strict=True))
        ids = logits[:, -1].argmax(axis=1)[:, None]
        written.append(ids[:, 0])
        mask, places = np.pad(mask, ((0, 0), (0, 1)), constant_values=1), places[:, -1:] + 1
    tokens = np.stack(written, axis=1).tolist()
    return [
        " ".join(f"word{token}" for token in row[: each.tokens])
        for row, each in zip(tokens, asked, strict=True)
    ]


def measure(folder: Path, repeats: int) -> None:
    """Measure and print."""
    bundle, one_length, graph = folder / WRITER, folder / ONE_LENGTH, folder / WRITER / "model.onnx"
    for place, name, padded in ((bundle, WRITER, True), (one_length, ONE_LENGTH, False)):
        decoder.write_bundle(place)
        manifest = (place / "manifest.toml").read_text().replace(f'"{WRITER}"', f'"{name}"')
        (place / "manifest.toml").write_text(
            manifest if padded else manifest.replace("left_padding = true\n", "")
        )
        subprocess.run(
            [sys.executable, "-m", "service.cli", "models", "seal", "--golden", str(place)], check=True
        )
    mixed, same = notes(SEED), alike(SEED)
    print(f"{NOTES} texts, {sum(each.tokens for each in mixed):,} tokens written, {ROWS} at most at a time")
    ways: dict[str, list[Measured]] = {}
    shares = list[float]()
    with worker(folder / "data", [bundle, one_length], folder / "log") as stack:
        stack.write(WRITER, mixed[:2])
        stack.write(ONE_LENGTH, mixed[:2])
        for _ in range(repeats):
            ways.setdefault("static batches, bare loop", []).append(static_batches(graph, mixed))
            ways.setdefault("batches of one length", []).append(stack.write(ONE_LENGTH, mixed))
            ways.setdefault("continuous batching", []).append(stack.write(WRITER, mixed))
            served, loop = stack.write(WRITER, same), static_batches(graph, same)
            shares.append(loop.cpu_s / served.cpu_s)
            _check_same(served, loop)
    _report(ways, shares)


def _report(ways: dict[str, list[Measured]], shares: Sequence[float]) -> None:
    texts = ways["continuous batching"][0].texts
    seconds = {way: [each.cpu_s for each in found] for way, found in ways.items()}
    continuous = statistics.median(seconds["continuous batching"])
    print("| way | CPU, s | continuous batching takes of it |")
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
