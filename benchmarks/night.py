"""A night's files, and the bare loops that batches are compared with: no checks, no encryption, no account of rows.

A loop runs in a process of its own, with its own ONNX Runtime session of one thread, and writes Parquet.
"""

import io
import multiprocessing
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from models.bundle import Bundle, read_bundle
from models.golden_cases import encode_cases
from models.pipelines import load_pipeline
from models.sandbox import cpu_session

ZOO = Path(__file__).parent.parent / "models" / "zoo"
TABULAR, IMAGES = "breast-cancer-wisconsin", "pneumonia-xray-28"
GROUP_ROWS = 1024 * 1024  # pyarrow's own choice
READ_ROWS = 16_384
RUN_ROWS = 1024  # the quickest size: the graph's values stay in the cache
RUN_IMAGES = 256
SIZE = (28, 28)  # of the images that the model was trained on: the bare loop resizes nothing


@dataclass(frozen=True)
class Bare:
    """What a bare loop took, imports left out. `run_s` is what the graph took of it."""

    wall_s: float
    cpu_s: float
    run_s: float


def write_rows(path: Path, count: int, seed: int) -> None:
    """Golden cases moved by up to 3 %, float64, with ids, as Parquet."""
    bundle = bundle_of(TABULAR)
    golden = [case.input for case in bundle.golden]
    rng = np.random.default_rng(seed)
    base = {name: np.array([case[name] for case in golden], dtype=np.float64) for name in golden[0]}
    schema = pa.schema([("id", pa.string()), *((name, pa.float64()) for name in base)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, GROUP_ROWS):
            size = min(GROUP_ROWS, count - start)
            chosen = rng.integers(0, len(golden), size)
            columns = {name: values[chosen] * rng.uniform(0.97, 1.03, size) for name, values in base.items()}
            ids = pa.array([f"case-{start + row:09d}" for row in range(size)])
            writer.write_table(pa.table({"id": ids, **columns}, schema=schema), row_group_size=GROUP_ROWS)


def write_images(path: Path, count: int, seed: int) -> None:
    """The golden X-ray images as PNG in a ZIP, repeated as often as it takes."""
    bundle = bundle_of(IMAGES)
    golden = encode_cases(bundle.golden, load_pipeline(bundle.manifest))
    files = [case.payload for case in golden if Image.open(io.BytesIO(case.payload)).size == SIZE]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row in range(count):
            archive.writestr(f"{row:06d}.png", files[(row + seed) % len(files)])


def bare_rows(path: Path) -> Bare:
    """Score a file of rows the bare way."""
    return in_process(_score_rows, path)


def bare_images(path: Path) -> Bare:
    """Score an archive of images the bare way."""
    return in_process(_score_images, path)


def in_process(score: Callable[[Path], Bare], path: Path) -> Bare:
    """Run a bare loop in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(score, (path,))


class Session:
    """A worker's session of one thread, with the same products; it keeps the time of its runs."""

    def __init__(self, model: str) -> None:
        self._session = cpu_session(bundle_of(model).model_path)
        self.run_s = 0.0

    def run(self, feeds: dict[str, Any]) -> Any:
        """The first output, float64 [N,C]."""
        begun = time.perf_counter()
        found = self._session.run(None, feeds)[0].astype(np.float64)
        self.run_s += time.perf_counter() - begun
        return found


Answers = Iterator[tuple[pa.Array, Any, Any]]  # id, label and probability of some rows
Loop = Callable[[Path, Session], Answers]


def timed(path: Path, model: str, loop: Loop) -> Bare:
    """Write the answers of a loop beside its file, in this process."""
    session = Session(model)
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    schema = pa.schema([("id", pa.string()), ("label", pa.string()), ("probability", pa.float64())])
    with pq.ParquetWriter(answers_of(path), schema) as writer:
        for ids, labels, probabilities in loop(path, session):
            columns = [ids, pa.array(labels), pa.array(probabilities)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
    return Bare(time.perf_counter() - wall_s, time.process_time() - cpu_s, session.run_s)


def answers_of(path: Path) -> Path:
    """Where a bare loop writes its answers to a file."""
    return path.with_suffix(".bare")


def bundle_of(model: str) -> Bundle:
    """A bundled model."""
    return read_bundle(ZOO / model)


def _score_rows(path: Path) -> Bare:
    return timed(path, TABULAR, _rows)


def _score_images(path: Path) -> Bare:
    return timed(path, IMAGES, _images)


def _named(ids: pa.Array, probability: Any) -> tuple[pa.Array, Any, Any]:
    return ids, np.where(probability >= 0.5, "positive", "negative"), probability


def _rows(path: Path, session: Session) -> Answers:
    for batch in pq.ParquetFile(path).iter_batches(READ_ROWS, use_threads=False):
        features = np.stack([column.to_numpy() for column in batch.columns[1:]], axis=1).astype(np.float32)
        outputs = [
            session.run({"features": features[start : start + RUN_ROWS]})[:, 0]
            for start in range(0, len(features), RUN_ROWS)
        ]
        yield _named(batch.column(0), np.concatenate(outputs))


def _images(path: Path, session: Session) -> Answers:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for start in range(0, len(names), RUN_IMAGES):
            some = names[start : start + RUN_IMAGES]
            pixels = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L")) for name in some]
            images = np.stack(pixels).astype(np.float32)[:, None] / np.float32(255)
            yield _named(pa.array(some), session.run({"image": images})[:, 0])
