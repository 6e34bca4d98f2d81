"""Files of pictures and texts of any size, and the bare loops over the same graphs: see night for what a bare loop is.

Each does by hand what its model's pipeline does: it decodes and fits a picture with Pillow, or cuts a text into tokens with
Hugging Face's library, and pads texts of like length together. None checks, encrypts, abstains or accounts for a row.
"""

import io
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tokenizers import Tokenizer

from benchmarks.night import Answers, Bare, Session, bundle_of, in_process, timed
from models.golden_cases import encode_cases
from models.pipelines import load_pipeline

PICTURES, TEXTS = "blood-cell-type", "trial-criterion"
DIFFERENT = 500  # files of the archive; it takes as long to score one twice
SIDE = 48
RUN_PICTURES = 256
RUN_TEXTS = 64
READ_TEXTS = 4096
STEP = 16  # texts are padded to multiples of this
CLAUSES = 4


@dataclass(frozen=True)
class Kind:
    """A kind of input: the model that takes it, how its file is made, and the bare loop over it."""

    name: str
    title: str
    method: str
    model: str
    format: str
    id_column: str | None
    write: Callable[[Path, int, int], None]
    bare: Callable[[Path], Bare]


def write_pictures(path: Path, count: int, seed: int) -> None:
    """The golden pictures of cells in colour, each in sizes from a half to one and a half of its own, as PNG in a ZIP."""
    chance = random.Random(seed)
    bundle = bundle_of(PICTURES)
    golden = [case.payload for case in encode_cases(bundle.golden, load_pipeline(bundle.manifest))]
    pictures = [Image.open(io.BytesIO(file)) for file in golden]
    coloured = [picture for picture in pictures if picture.mode == "RGB"]
    files = [_resized(chance.choice(coloured), chance) for _ in range(min(count, DIFFERENT))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row in range(count):
            archive.writestr(f"{row:06d}.png", files[row % len(files)])


def write_texts(path: Path, count: int, seed: int) -> None:
    """Texts of one to four of the golden criteria, in any order, with ids, as Parquet."""
    chance = random.Random(seed)
    golden = [case.input["text"] for case in bundle_of(TEXTS).golden]
    texts = [
        "\uff1b".join(chance.choice(golden) for _ in range(chance.randint(1, CLAUSES))) for _ in range(count)
    ]
    pq.write_table(pa.table({"id": [f"text-{row:06d}" for row in range(count)], "text": texts}), path)


def _resized(picture: Image.Image, chance: random.Random) -> bytes:
    width, height = (max(12, round(side * chance.uniform(0.5, 1.5))) for side in picture.size)
    file = io.BytesIO()
    picture.resize((width, height)).save(file, "PNG")
    return file.getvalue()


def bare_pictures(path: Path) -> Bare:
    """Score an archive of pictures the bare way."""
    return in_process(_score_pictures, path)


def bare_texts(path: Path) -> Bare:
    """Score a file of texts the bare way."""
    return in_process(_score_texts, path)


def _score_pictures(path: Path) -> Bare:
    return timed(path, PICTURES, _pictures)


def _score_texts(path: Path) -> Bare:
    return timed(path, TEXTS, _texts)


def _pictures(path: Path, session: Session) -> Answers:
    labels = _labels(PICTURES)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for start in range(0, len(names), RUN_PICTURES):
            some = names[start : start + RUN_PICTURES]
            pixels = [_pixels(archive.read(name)) for name in some]
            images = np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            yield pa.array(some), *_likeliest(session.run({"image": images}), labels)


def _pixels(file: bytes) -> Any:
    """uint8 [48,48,3]."""
    picture = Image.open(io.BytesIO(file)).convert("RGB")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _texts(path: Path, session: Session) -> Answers:
    labels, tokenizer = _labels(TEXTS), Tokenizer.from_file(str(bundle_of(TEXTS).folder / "tokenizer.json"))
    for batch in pq.ParquetFile(path).iter_batches(READ_TEXTS, use_threads=False):
        tokens = [tokenizer.encode(text).ids for text in batch.column(1).to_pylist()]
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        scores = np.empty((len(tokens), len(labels)))
        for start in range(0, len(order), RUN_TEXTS):
            rows = order[start : start + RUN_TEXTS]
            scores[rows] = session.run(_padded([tokens[row] for row in rows]))
        yield batch.column(0), *_likeliest(scores, labels)


def _padded(texts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """`input_ids` and `attention_mask`, int64 [N,L], L a multiple of 16."""
    length = -(-max(map(len, texts)) // STEP) * STEP
    ids, mask = (np.zeros((len(texts), length), np.int64) for _ in range(2))
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return {"input_ids": ids, "attention_mask": mask}


def _labels(model: str) -> Any:
    return np.array([label.id for label in load_pipeline(bundle_of(model).manifest).labels()])


def _likeliest(scores: Any, labels: Any) -> tuple[Any, Any]:
    return labels[scores.argmax(axis=1)], scores.max(axis=1)


KINDS = (
    Kind(
        "pictures",
        "Batch of pictures in colour",
        "PNG files of 16 to 480 pixels a side in a ZIP, scored into Parquet by one worker with the model blood-cell-type. The"
        " bare loop, one process, decodes and resizes them with Pillow and runs the same graph, with as many threads: one. It"
        " must give the same answers.",
        PICTURES,
        "zip",
        None,
        write_pictures,
        bare_pictures,
    ),
    Kind(
        "texts",
        "Batch of texts",
        "The same of criteria of clinical trials in Chinese, 6 to 79 characters, in Parquet, with the model trial-criterion."
        " The bare loop cuts them into tokens with the library `tokenizers` and runs those of like length together.",
        TEXTS,
        "parquet",
        "id",
        write_texts,
        bare_texts,
    ),
)
