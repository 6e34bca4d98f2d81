"""The cases that both systems score: the bundled model's golden ones, and copies jittered by a seed."""

import functools
import json
import random
from dataclasses import dataclass
from pathlib import Path

import models
from models.bundle import read_bundle
from models.manifest import ModelManifest, parse_parameters
from models.pipelines.features import Feature
from models.pipelines.tabular_classification import TabularParameters

MODEL = "breast-cancer-wisconsin"
MODEL_FOLDER = Path(models.__file__).parent / "zoo" / MODEL
JITTER = 0.03  # each number moves by up to this share of itself


@dataclass(frozen=True)
class GoldenCase:
    """An input whose answer the bundle states."""

    input: dict[str, float]
    label: str
    probabilities: dict[str, float]


@functools.cache
def parameters() -> TabularParameters:
    """The model's parameters, as its manifest states them."""
    text = (MODEL_FOLDER / "manifest.toml").read_text()
    return parse_parameters(TabularParameters, ModelManifest.parse(text))


@functools.cache
def golden_cases() -> list[GoldenCase]:
    """The cases of golden.json that are answered."""
    content = json.loads((MODEL_FOLDER / "golden.json").read_text())
    return [
        GoldenCase(case["input"], case["expected"]["label"], case["expected"]["probabilities"])
        for case in content["cases"]
        if not case["expected"]["abstained"]
    ]


def digest() -> str:
    """The digest of the bundle that was measured."""
    return read_bundle(MODEL_FOLDER).digest


def inputs(count: int, seed: int) -> list[bytes]:
    """`count` different inputs as JSON, the same ones for the same seed."""
    chance, features = random.Random(seed), parameters().numbers
    golden = golden_cases()
    return [_jittered(golden[index % len(golden)].input, features, chance) for index in range(count)]


def body(case: bytes) -> bytes:
    """The body of a submit; both systems take the same."""
    return b'{"model":"%s","input":%s}' % (MODEL.encode(), case)


def bulk_body(cases: list[bytes]) -> bytes:
    """The body of a bulk submit."""
    return b'{"jobs":[%s]}' % b",".join(body(case) for case in cases)


def _jittered(case: dict[str, float], features: tuple[Feature, ...], chance: random.Random) -> bytes:
    moved = {feature.name: _moved(case[feature.name], feature, chance) for feature in features}
    return json.dumps(moved, separators=(",", ":")).encode()


def _moved(value: float, feature: Feature, chance: random.Random) -> float:
    near = float(f"{value * chance.uniform(1 - JITTER, 1 + JITTER):.6g}")
    return min(max(near, feature.minimum), feature.maximum)
