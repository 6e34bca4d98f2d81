"""Axes of any length, such as that of a text, between a pipeline and a graph."""

import pytest

from models.fitting import Fitting
from models.manifest import GraphTable, ManifestInvalid
from models.pipelines import ANY_LENGTH, GraphSpec, TensorSpec
from models.signature import Signature, Tensor

SPEC = GraphSpec(
    (TensorSpec("tokens", "int64", (ANY_LENGTH,)),), (TensorSpec("vectors", "float32", (ANY_LENGTH, 4)),)
)
TABLE = GraphTable.model_validate({})


def signature(tokens: tuple[int | None, ...], vectors: tuple[int | None, ...]) -> Signature:
    return Signature((Tensor("tokens", "int64", tokens),), (Tensor("vectors", "float32", vectors),))


@pytest.mark.parametrize("length", [None, 12])
def test_an_axis_of_any_length_fits_whatever_the_graph_says_of_it(length: int | None) -> None:
    Fitting(TABLE, SPEC, signature((None, length), (None, length, 4)))


@pytest.mark.parametrize(
    ("tokens", "vectors", "wanted"),
    [
        ((None,), (None, None, 4), "int64 [N, any]"),
        ((None, None, 2), (None, None, 4), "int64 [N, any]"),
        ((None, None), (None, None, 5), "float32 [N, any, 4]"),
    ],
)
def test_the_other_axes_must_be_as_the_pipeline_says(
    tokens: tuple[int | None, ...], vectors: tuple[int | None, ...], wanted: str
) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        Fitting(TABLE, SPEC, signature(tokens, vectors))
    [fault] = caught.value.faults
    assert wanted in fault.detail
