"""`python -m benchmarks.large_model`: what a model of several GB costs in memory and time, from its check to its first answer.

The model draws a line through two numbers, and has layers of zeros whose weights lie in a file beside the graph. ONNX Runtime
maps them, so a worker has little memory beside them.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from benchmarks.processes import free_port, running, wait_until_ready

NAME = "large-zeros"
WIDTH = 16_384  # a layer of its square in float32 is 1 GiB
LAYER_BYTES = 4 * WIDTH**2
SAMPLED_S = 0.05
ANSWERED_WITHIN_S = 300
MIB = 2**20

MANIFEST = """
name = "large-zeros"
version = "1.0.0"
kind = "diagnosis"
pipeline = "tabular-classification"
title = "Zeros"
summary = "Large layers of zeros beside a line through made-up points."
license = "CC0-1.0"

[parameters]
positive = "ill"
labels = [{id = "well", display = "Well"}, {id = "ill", display = "Ill"}]
threshold = {value = 0.5, sensitivity = 0.9, specificity = 0.8, ppv = 0.7, prevalence = 0.3, source = "made up"}
features = [
  {name = "dose", title = "Dose", unit = "mg", minimum = 0, maximum = 50, example = 10},
  {name = "age", title = "Age", unit = "a", minimum = 0, maximum = 120, example = 40},
]
"""
CASES = [{"input": {"dose": 5.0 * row, "age": 10.0 * row}, "expected": {}} for row in range(6)]


@dataclass
class Peaks:
    """The most memory of each kind of process, in MiB: resident, and of that what is its own and not mapped from a file."""

    resident: dict[str, float] = field(default_factory=dict)
    anonymous: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, pid: int) -> None:
        """Read a process once."""
        with suppress(OSError, KeyError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            told = dict(line.split(":", 1) for line in lines if ":" in line)
            for peaks, key in ((self.resident, "VmRSS"), (self.anonymous, "RssAnon")):
                peaks[name] = max(peaks.get(name, 0.0), int(told[key].split()[0]) / 1024)

    def of(self, name: str) -> str:
        """Both, for people."""
        return f"{self.resident.get(name, 0):,.0f} MiB resident, {self.anonymous.get(name, 0):,.0f} MiB of it anonymous"


def write_bundle(folder: Path, layers: int) -> None:
    """A bundle with so many layers of 1 GiB."""
    folder.mkdir()
    with (folder / "weights.bin").open("wb") as weights:
        weights.truncate(layers * LAYER_BYTES)
    (folder / "model.onnx").write_bytes(_graph(layers).SerializeToString())
    (folder / "manifest.toml").write_text(MANIFEST)
    (folder / "CARD.md").write_text("# Zeros\n\nMade up to measure memory.\n")
    (folder / "golden.json").write_text(json.dumps({"cases": CASES}))


def _graph(layers: int) -> onnx.ModelProto:
    import numpy as np

    nodes, feed = [helper.make_node("MatMul", ["features", "widen"], ["layer_0"])], "layer_0"
    for number in range(layers):
        nodes.append(helper.make_node("MatMul", [feed, f"zeros_{number}"], [f"layer_{number + 1}"]))
        feed = f"layer_{number + 1}"
    nodes += [
        helper.make_node("ReduceSum", [feed, "axis"], ["nothing"]),
        helper.make_node("MatMul", ["features", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["line"]),
        helper.make_node("Add", ["line", "nothing"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants: dict[str, Any] = {
        "widen": np.zeros((2, WIDTH), np.float32),
        "axis": np.array([1], np.int64),
        "weight": np.array([[0.1], [0.02]], np.float32),
        "bias": np.array([-2.0], np.float32),
    }
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    features, probability = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])
        for name, columns in (("features", 2), ("probability", 1))
    )
    graph = helper.make_graph(nodes, NAME, [features], [probability], [*tensors, *map(_zeros, range(layers))])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _zeros(number: int) -> onnx.TensorProto:
    """A layer whose weights lie in the file."""
    tensor = TensorProto(name=f"zeros_{number}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": "weights.bin", "offset": number * LAYER_BYTES, "length": LAYER_BYTES}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def medqueue(*words: str, name: str, peaks: Peaks) -> float:
    """Run a command and note the memory of it and its children together; the seconds it took."""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", "service.cli", *words]) as command:
        while command.poll() is None:
            with suppress(psutil.NoSuchProcess):
                for process in [
                    psutil.Process(command.pid),
                    *psutil.Process(command.pid).children(recursive=True),
                ]:
                    peaks.note(name, process.pid)
            time.sleep(SAMPLED_S)
    if command.returncode:
        sys.exit(f"medqueue {' '.join(words)} ended with {command.returncode}.")
    return time.monotonic() - began


@contextmanager
def watched(root: int, peaks: Peaks) -> Iterator[None]:
    """Note the memory of the API and of the workers below a process while the block lasts."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLED_S):
            for process in psutil.Process(root).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    words = " ".join(process.cmdline())
                    peaks.note(
                        "worker" if "workers.app" in words and "score" in words else _api(words), process.pid
                    )

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _api(words: str) -> str:
    return "api" if "service.serving" in words or "granian" in words else "others"


def first_answer(url: str, key: str, case: dict[str, Any]) -> dict[str, Any]:
    """The job of a case, once it has succeeded."""
    headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=30"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        answer = http.post("/v1/jobs", json={"model": NAME, "input": case})
        until = time.monotonic() + ANSWERED_WITHIN_S
        while answer.is_success and answer.json()["state"] not in ("succeeded", "failed", "quarantined"):
            if time.monotonic() > until:
                sys.exit(f"no answer within {ANSWERED_WITHIN_S} s")
            answer = http.get(f"/v1/jobs/{answer.json()['id']}")
    found: dict[str, Any] = answer.json()
    if found.get("state") != "succeeded":
        sys.exit(f"not scored: {found}")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_model", description=__doc__)
    parser.add_argument("--layers", type=int, default=3, help="GiB of weights")
    parser.add_argument("--folder", type=Path, help="where there is room for four times the weights")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as made:
        measure(Path(made), options.layers)


def measure(folder: Path, layers: int) -> None:
    """Check, publish and score, in a stack of its own."""
    bundle, data, port, peaks = folder / "bundle", folder / "data", free_port(), Peaks()
    write_bundle(bundle, layers)
    print(f"weights: {layers * LAYER_BYTES / MIB:,.0f} MiB")
    for words in (["seal", "--golden"], ["check"]):
        took_s = medqueue("models", *words, str(bundle), name=words[0], peaks=peaks)
        print(f"models {words[0]}: {took_s:.1f} s, most memory of one process {peaks.of(words[0])}")
    up = [
        sys.executable,
        "-m",
        "service.cli",
        "up",
        "--port",
        str(port),
        "--data-dir",
        str(data),
        "--workers",
        "1",
    ]
    log, before, after = folder / "log", Peaks(), Peaks()
    with running(up, {}, log) as root:
        wait_until_ready(port, log)
        with watched(root, before):
            time.sleep(3)
        print(f"before: API {before.of('api')}; worker {before.of('worker')}")
        with watched(root, after):
            took_s = medqueue(
                "models", "publish", str(bundle), "--data-dir", str(data), name="publish", peaks=peaks
            )
            print(f"models publish: {took_s:.1f} s, most memory of one process {peaks.of('publish')}")
            began = time.monotonic()
            key = (data / "admin.key").read_text().strip()
            job = first_answer(f"http://127.0.0.1:{port}", key, CASES[3]["input"])
            print(f"first answer after {time.monotonic() - began:.1f} s: {job['result']['label']}")
            for _ in range(3):
                began = time.monotonic()
                first_answer(f"http://127.0.0.1:{port}", key, CASES[4]["input"])
                print(f"a further answer after {time.monotonic() - began:.1f} s")
        print(f"after: API {after.of('api')}; worker {after.of('worker')}")
        own_mib = after.resident["worker"] - layers * LAYER_BYTES / MIB
        print(f"worker's peak beside the weights: {own_mib:,.0f} MiB")


if __name__ == "__main__":
    main()
