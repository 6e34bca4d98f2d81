"""What a variant can be made into, and what is tried for it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from models.manifest import Precision
from models.variants.activations import PRODUCTS, Feeds, quantized
from models.variants.eight_bits import with_int8_weights
from models.variants.half import with_float16

LEAST: Final = 512  # numbers of a tensor that is worth a scale and a node of its own

Convert = Callable[[Any, Feeds], Any]


@dataclass(frozen=True)
class Attempt:
    """One way to convert a graph, given what it is fed for calibration, and what the card says of it."""

    convert: Convert
    said: str


@dataclass(frozen=True)
class Scheme:
    """A kind of variant. Its attempts are made in turn, until one keeps the bounds."""

    suffix: str
    precision: Precision
    attempts: tuple[Attempt, ...]
    row_by_row: bool = False
    calibrated: bool = False


def _half(said: str, *, among: Collection[str] | None) -> Attempt:
    return Attempt(lambda model, _: with_float16(model, among=among), said)


def _with_weights_alone(model: Any) -> Any:
    return with_int8_weights(model, least=LEAST, kernels=True)


SCHEMES: Final[Mapping[str, Scheme]] = {
    each.suffix: each
    for each in (
        Scheme(
            "fp16",
            "fp16",
            (
                _half("weights and every operator that takes it in float16", among=None),
                _half("weights and products in float16, everything else in float32", among=PRODUCTS),
            ),
        ),
        Scheme(
            "int8",
            "int8",
            (
                Attempt(
                    lambda model, _: _with_weights_alone(model),
                    "weights in eight bits with a scale for each channel, computing in float32",
                ),
            ),
        ),
        Scheme(
            "int8-static",
            "int8",
            (
                Attempt(
                    quantized,
                    "products in eight bits; the scales of activations come from a calibration file, and what lies beyond its "
                    "range is clipped",
                ),
            ),
            calibrated=True,
        ),
        Scheme(
            "int8-dynamic",
            "int8",
            (
                Attempt(
                    lambda model, _: quantized(model, None),
                    "products in eight bits; the scales of activations come from the row itself, which is why rows are run one "
                    "by one",
                ),
            ),
            row_by_row=True,
        ),
    )
}
