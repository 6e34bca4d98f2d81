"""Rows of a ward that does not exist: inputs drawn between golden cases, and truths that its model's probabilities misjudge."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import bundled, read_bundle
from models.golden_cases import encode_cases
from models.variants.measuring import LocalModel

NAME = "breast-cancer-wisconsin"
FOLDER = next(folder for folder in bundled() if folder.name == NAME)
SEED = 7


def ward(
    count: int = 600, *, slope: float = 0.4, offset: float = -1.0, seed: int = SEED
) -> list[dict[str, Any]]:
    """Labelled cases. In the ward the log odds of the disease are `slope` times those that the model states, and `offset`."""
    model = LocalModel(FOLDER)
    inputs = [case.input for case in read_bundle(FOLDER).golden if not case.expected["abstained"]]
    rows, chance = np.array([list(each.values()) for each in inputs]), np.random.default_rng(seed)
    one, shares = chance.integers(0, len(rows), count), chance.uniform(0, 1, (count, 1))
    other = (one + chance.integers(1, len(rows), count)) % len(rows)
    mixed = shares * rows[one] + (1 - shares) * rows[other]
    sent = [dict(zip(inputs[0], row.round(6).tolist(), strict=True)) for row in mixed]
    golden = [read_bundle(FOLDER).golden[0].model_copy(update={"input": each}) for each in sent]
    answers = model.answers(encode_cases(golden, model.pipeline))
    stated = np.array([each["probabilities"]["malignant"] for each in answers]).clip(1e-6, 1 - 1e-6)  # type: ignore[index]
    risk = 1 / (1 + np.exp(-(slope * np.log(stated / (1 - stated)) + offset)))
    ill = chance.uniform(size=count) < risk
    return [
        {"input": each, "expected": "malignant" if is_ill else "benign", "patient": f"p{number // 2}"}
        for number, (each, is_ill) in enumerate(zip(sent, ill.tolist(), strict=True))
    ]


def as_lines(path: Path, cases: list[dict[str, Any]], *more: str) -> Path:
    """The cases as NDJSON, and `more` lines."""
    path.write_text("".join(f"{line}\n" for line in [*map(json.dumps, cases), *more]))
    return path


def as_table(path: Path, cases: list[dict[str, Any]]) -> Path:
    """The cases as a table with the columns `is`, where M is malignant, and `patient`."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*cases[0]["input"], "is", "patient"])
        writer.writerows(
            [*case["input"].values(), case["expected"][0].upper(), case["patient"]] for case in cases
        )
    return path
