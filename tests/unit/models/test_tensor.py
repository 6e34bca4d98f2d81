"""Named tensors: what is taken, what is refused with which words, and what comes back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fitting import Fitting
from models.manifest import GraphTable, ManifestInvalid, ModelManifest
from models.pipelines import Array, Case, InputRejected, PredictionInvalid, load_pipeline
from models.pipelines.tensor import FLOATS, INTEGERS, Tensors
from models.signature import Signature, Tensor
from tests.unit.models.example_bundles import manifest_table
from tests.unit.models.schemas import assert_fits

PAIR = {"name": "pair", "shape": [2], "unit": "mm", "title": "A pair", "minimum": -100.0, "maximum": 100.0}
WORDS = {"name": "words", "dtype": "int64", "shape": [-1]}
SUM = {"name": "total", "shape": []}


def pipeline(
    inputs: list[dict[str, Any]], outputs: list[dict[str, Any]] | None = None, **more: Any
) -> Tensors:
    table = manifest_table("tensor")
    table["parameters"] = {"inputs": inputs, "outputs": outputs or [SUM], **more}
    made = load_pipeline(ModelManifest.model_validate(table))
    assert isinstance(made, Tensors)
    return made


def total(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph: the sum of all numbers of a row."""
    assert graph == "model"
    return {
        "total": sum(feed.reshape(len(feed), -1).sum(axis=1) for feed in feeds.values()).astype(np.float32)
    }


def answers(made: Tensors, run: Any, *values: object) -> list[Any]:
    cases = [Case(made.encode(value)) for value in values]
    return [each.result["outputs"] for each in made.open(Path()).score(run, cases)]


def refusal(made: Tensors, value: object) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        made.encode(value)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_rows_come_back_in_their_order_though_shapes_run_together() -> None:
    made = pipeline([PAIR, WORDS])
    values = [
        {"pair": [1, 2], "words": [3]},
        {"pair": [0.5, 0.25], "words": [1, 2, 3]},
        {"pair": [10, 20], "words": [30]},
        {"pair": [0, 0], "words": [0, 0, 7]},
    ]
    assert answers(made, total, *values) == [{"total": 6.0}, {"total": 6.75}, {"total": 60.0}, {"total": 7.0}]


@pytest.mark.parametrize(
    ("dtype", "fits"), [("float32", True), ("float16", True), ("float64", False), ("int64", False)]
)
def test_numbers_that_the_graph_cannot_hold_are_refused_with_the_bundle(dtype: str, fits: bool) -> None:
    """Of a graph that takes float32: 1e300 would be an infinity to it, and 2**24 + 1 another number."""
    spec = pipeline([{"name": "value", "dtype": dtype}]).graphs["model"]
    graph = Signature((Tensor("value", "float32", (None,)),), (Tensor("total", "float32", (None,)),))
    if fits:
        Fitting(GraphTable.model_validate({}), spec, graph)
        return
    with pytest.raises(ManifestInvalid, match=f"float32, which cannot hold every {dtype}: declare it as the"):
        Fitting(GraphTable.model_validate({}), spec, graph)


def test_the_graph_is_fed_the_types_and_shapes_of_the_manifest() -> None:
    seen: dict[str, Any] = {}

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        seen.update({name: (feed.dtype.name, feed.shape) for name, feed in feeds.items()})
        return {"total": np.zeros(len(feeds["pair"]), np.float32)}

    tensors: list[dict[str, Any]] = [
        PAIR, WORDS, {"name": "half", "dtype": "float16", "shape": [1, 2]}, {"name": "flag", "dtype": "bool"},
        {"name": "pixels", "dtype": "uint8", "shape": [-1, -1]}, {"name": "note", "dtype": "string", "shape": [1]},
    ]  # fmt: skip
    value = {
        "pair": [1, 2],
        "words": [3],
        "half": [[1, 2]],
        "flag": True,
        "pixels": [[0, 255, 3]],
        "note": ["多喝水"],
    }
    answers(pipeline(tensors), run, value, value)
    assert seen == {
        "pair": ("float32", (2, 2)), "words": ("int64", (2, 1)), "half": ("float16", (2, 1, 2)), "flag": ("bool", (2,)),
        "pixels": ("uint8", (2, 1, 3)), "note": ("object", (2, 1)),
    }  # fmt: skip


@given(st.lists(st.lists(st.integers(-100, 100), min_size=1, max_size=5), min_size=1, max_size=8))
def test_an_answer_does_not_depend_on_its_company(rows: list[list[int]]) -> None:
    made = pipeline([WORDS])
    values = [{"words": row} for row in rows]
    assert answers(made, total, *values) == [answers(made, total, value)[0] for value in values]


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({"words": [1]}, [("/pair", "missing_field")]),
        ({"pair": [1], "words": [1]}, [("/pair", "too_short")]),
        ({"pair": [1, 2, 3], "words": [1]}, [("/pair", "too_long")]),
        ({"pair": [1, "2"], "words": [1]}, [("/pair/1", "wrong_type")]),
        ({"pair": [1, True], "words": [1]}, [("/pair/1", "wrong_type")]),
        ({"pair": [1, None], "words": [1]}, [("/pair/1", "wrong_type")]),
        ({"pair": [1, 100.5], "words": [1]}, [("/pair/1", "out_of_range")]),
        ({"pair": [[1, 2]], "words": [1]}, [("/pair", "too_short"), ("/pair/0", "wrong_type")]),
        ({"pair": 3, "words": [1]}, [("/pair", "wrong_type")]),
        ({"pair": [1, 2], "words": []}, [("/words", "too_short")]),
        ({"pair": [1, 2], "words": [1.5]}, [("/words/0", "wrong_type")]),
        ({"pair": [1, 2], "words": [2**63]}, [("/words/0", "out_of_range")]),
        ({"pair": [1, 2], "words": [1], "mask": [1]}, [("/mask", "unknown_field")]),
        ([1, 2], [("", "not_an_object")]),
    ],
)
def test_what_is_no_such_tensor_is_refused(value: object, faults: list[tuple[str, str]]) -> None:
    assert set(refusal(pipeline([PAIR, WORDS]), value)) <= set(faults)


@pytest.mark.parametrize("rows", [[[1, 2], [3]], [[1], [2, 3], [4]]])
def test_lists_of_unlike_lengths_are_no_tensor(rows: object) -> None:
    made = pipeline([{"name": "grid", "dtype": "int64", "shape": [-1, -1]}])
    assert refusal(made, {"grid": rows}) == [("/grid", "invalid_value")]


def test_deep_lists_of_unlike_lengths_are_no_tensor() -> None:
    made = pipeline([{"name": "cube", "dtype": "int64", "shape": [-1, -1, -1]}])
    assert refusal(made, {"cube": [[[1], [2]], [[1, 2], [3, 4]]]}) == [("/cube", "invalid_value")]
    made.encode({"cube": [[[1], [2]], [[3], [4]]]})


def test_an_input_may_have_so_many_numbers_and_axes_be_so_long() -> None:
    made = pipeline([{"name": "grid", "dtype": "int64", "shape": [-1, 2]}], longest=5, elements=8)
    made.encode({"grid": [[1, 2]] * 4})
    assert refusal(made, {"grid": [[1, 2]] * 5}) == [("", "too_long")]
    assert refusal(made, {"grid": [[1, 2]] * 6}) == [("/grid", "too_long")]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_the_ends_of_every_type_are_taken_and_what_lies_beyond_is_not(dtype: str) -> None:
    made = pipeline([{"name": "value", "dtype": dtype}])
    lowest, highest = INTEGERS.get(dtype) or (-FLOATS[dtype], FLOATS[dtype])
    for end in (lowest, highest):
        fed: list[Array] = []

        def run(
            feeds: Mapping[str, Array], graph: str = "model", fed: list[Array] = fed
        ) -> Mapping[str, Array]:
            fed.append(feeds["value"])
            return {"total": np.zeros(1, np.float32)}

        answers(made, run, {"value": end})
        assert fed[0].dtype == dtype
        assert fed[0].tolist() == [end]
    if dtype != "float64":
        beyond = [lowest - 1, highest + 1] if dtype in INTEGERS else [highest * 1.01, -highest * 1.01]
        assert [refusal(made, {"value": each}) for each in beyond] == [[("/value", "out_of_range")]] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_no_answer_for_its_row(bad: float) -> None:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {"total": np.where(feeds["words"][:, 0] == 7, bad, 1.0).astype(np.float32)}

    made = pipeline([WORDS])
    cases = [Case(made.encode({"words": row})) for row in ([1], [7], [2, 3], [7, 7])]
    with pytest.raises(PredictionInvalid) as refused:
        made.open(Path()).score(run, cases)
    assert refused.value.rows in ((1,), (3,))


def test_an_output_without_a_row_for_each_case_is_no_answer() -> None:
    made = pipeline([WORDS])
    with pytest.raises(PredictionInvalid, match="1 rows for 2 cases"):
        answers(
            made,
            lambda feeds, graph="model": {"total": np.zeros(1, np.float32)},
            {"words": [1]},
            {"words": [2]},
        )


def test_results_fit_their_schema_and_inputs_theirs() -> None:
    made = pipeline([PAIR, WORDS], [{"name": "total"}, {"name": "boxes", "dtype": "int64", "shape": [-1, 4]}])

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {"total": np.ones(1, np.float32), "boxes": np.arange(8).reshape(1, 2, 4)}

    value = {"pair": [1, 2], "words": [3]}
    [answer] = made.open(Path()).score(run, [Case(made.encode(value))])
    assert answer.result == {
        "type": "tensor",
        "outputs": {"total": 1.0, "boxes": [[0, 1, 2, 3], [4, 5, 6, 7]]},
    }
    assert_fits(answer.result, made.result_schema())
    assert_fits(value, made.input_schema())
    schema: Any = made.input_schema()
    assert (schema["properties"]["pair"]["unit"], schema["properties"]["pair"]["title"]) == ("mm", "A pair")
    for example in schema["examples"]:
        made.encode(example)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [0]}, "shape"),
        ({"shape": [-2]}, "shape"),
        ({"dtype": "complex64"}, "dtype"),
        ({"dtype": "string", "minimum": 1.0}, "minimum"),
        ({"minimum": 2.0, "maximum": 1.0}, "minimum"),
        ({"name": "Pair"}, "name"),
        ({"name": "model_dump"}, "model_"),
        ({"shape": [2**70]}, "shape"),
        ({"shape": [1001, 1000]}, "elements: an input has at least 1001000"),
        ({"dtype": "float16", "maximum": 65505.0}, "float16 holds"),
        ({"dtype": "float32", "minimum": -1e39}, "float32 holds"),
        ({"dtype": "int32", "minimum": 0.5}, "whole numbers that int32 holds"),
        ({"dtype": "uint8", "minimum": 0.0, "maximum": 256.0}, "whole numbers that uint8 holds"),
        ({"dtype": "uint8", "minimum": -1.0}, "whole numbers that uint8 holds"),
    ],
)
def test_tensors_that_make_no_sense_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestInvalid, match=words):
        pipeline([PAIR | change])


def test_two_tensors_of_one_name_are_refused() -> None:
    with pytest.raises(ManifestInvalid, match="inputs: give each tensor its own name"):
        pipeline([PAIR, PAIR])
    with pytest.raises(ManifestInvalid, match="outputs: give each tensor its own name"):
        pipeline([PAIR], [SUM, SUM])


def test_of_each_list_the_first_wrong_number_is_told() -> None:
    made = pipeline([PAIR, {"name": "rows", "shape": [-1, 2]}])
    wrong = {"pair": ["a", "b"], "rows": [[1, 2], ["a", "b"], ["a", "b"]]}
    assert refusal(made, wrong) == [("/pair/0", "wrong_type"), ("/rows/1/0", "wrong_type")]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int64", "uint64"])
def test_limits_may_be_those_of_the_type(dtype: str) -> None:
    least, most = (-FLOATS[dtype], FLOATS[dtype]) if dtype in FLOATS else INTEGERS[dtype]
    made = pipeline([{"name": "x", "dtype": dtype, "minimum": float(least), "maximum": float(most)}])
    assert [made.decode(made.encode({"x": each})) for each in (least, most)] == [{"x": least}, {"x": most}]
