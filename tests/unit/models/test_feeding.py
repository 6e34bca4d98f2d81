"""Feeds of a pipeline and inputs of a graph: which column goes where, as what type, and what is said where they do not meet."""

import re
import tomllib
from typing import Any

import numpy as np
import pytest

from models.feeding import Feeding
from models.manifest import GraphTable
from models.pipelines import ROW, PredictionInvalid, TensorSpec
from models.signature import Tensor

NUMBERS = TensorSpec(
    "features", "float32", (3,), columns=tuple(TensorSpec(name, "float32", (1,)) for name in "abc")
)
TYPES = {
    "age": "float64",
    "visits": "int32",
    "serial": "int64",
    "smoker": "bool",
    "sex": "string",
    "stage": "int32",
}
MIXED = TensorSpec(
    "features", ROW, (6,), columns=tuple(TensorSpec(name, dtype, (1,)) for name, dtype in TYPES.items())
)
ROWS = np.array(
    [(61.5, 3, 2**53, True, "male", 2), (np.nan, 0, -1, False, "", -1)],
    [("age", "f8"), ("visits", "i4"), ("serial", "i8"), ("smoker", "?"), ("sex", "O"), ("stage", "i4")],
)


def feeding(spec: TensorSpec, inputs: list[Tensor], **mapped: Any) -> Feeding:
    return Feeding(GraphTable.model_validate({"inputs": mapped}), (spec,), inputs)


def single(name: str, element: str, *lengths: int | None) -> Tensor:
    return Tensor(name, element, (None, *lengths))


def own_inputs(**elements: str) -> list[Tensor]:
    """One input [N, 1] a column of MIXED, called and typed as it, but for `elements`."""
    return [single(name, elements.get(name, dtype), 1) for name, dtype in TYPES.items()]


def test_inputs_that_are_called_as_the_columns_are_fed_by_name_without_a_word() -> None:
    found = feeding(NUMBERS, [single(name, "float32", 1) for name in "cab"])
    assert found.faults == []
    fed = found.fed({"features": np.array([[1, 2, 3], [4, 5, 6]], np.float32)})
    assert {name: value.tolist() for name, value in fed.items()} == {
        "a": [[1], [4]],
        "b": [[2], [5]],
        "c": [[3], [6]],
    }


def test_a_column_of_each_type_is_fed_as_its_input_takes_it() -> None:
    found = feeding(MIXED, own_inputs(age="float32", visits="int64", smoker="float32", stage="float32"))
    assert found.faults == []
    fed = found.fed({"features": ROWS})
    assert {name: value.dtype.name for name, value in fed.items()} == {
        "age": "float32",
        "visits": "int64",
        "serial": "int64",
        "smoker": "float32",
        "sex": "object",
        "stage": "float32",
    }
    assert {value.shape for value in fed.values()} == {(2, 1)}
    assert fed["serial"].tolist() == [[2**53], [-1]]
    assert fed["sex"].tolist() == [["male"], [""]]
    assert fed["smoker"].tolist() == [[1.0], [0.0]]
    assert fed["age"][0] == 61.5
    assert np.isnan(fed["age"][1])


def test_an_input_without_a_second_axis_is_fed_a_column() -> None:
    found = feeding(NUMBERS, [single("a", "float32"), single("b", "float64"), single("c", "float32", None)])
    assert found.faults == []
    fed = found.fed({"features": np.array([[1, 2, 3]], np.float32)})
    assert [fed[name].shape for name in "abc"] == [(1,), (1,), (1, 1)]


def test_columns_that_are_mapped_to_one_input_become_its_columns_in_their_order() -> None:
    inputs = [
        single("words", "string", 1),
        single("counts", "int64", 3),
        single("x", "float64", 1),
        single("s", "bool", 1),
    ]
    mapped = {"stage": "counts", "visits": "counts", "serial": "counts"}
    found = feeding(MIXED, inputs, sex="words", age="x", smoker="s", **mapped)
    assert found.faults == []
    fed = found.fed({"features": ROWS})
    assert fed["counts"].tolist() == [[3, 2**53, 2], [0, -1, -1]]
    assert fed["counts"].dtype == np.int64


def test_the_columns_without_a_key_of_their_own_go_where_the_whole_goes() -> None:
    found = feeding(NUMBERS, [single("X", "float32", 2), single("y", "float32", 1)], features="X", b="y")
    assert found.faults == []
    fed = found.fed({"features": np.array([[1, 2, 3]], np.float32)})
    assert (fed["X"].tolist(), fed["y"].tolist()) == ([[1, 3]], [[2]])


def test_a_list_names_an_input_for_each_column_in_order() -> None:
    found = feeding(NUMBERS, [single(name, "float32", 1) for name in "xyz"], features=["z", "y", "x"])
    assert found.faults == []
    fed = found.fed({"features": np.array([[1, 2, 3]], np.float32)})
    assert [fed[name].tolist() for name in "xyz"] == [[[3]], [[2]], [[1]]]


@pytest.mark.parametrize("mapped", [{"features": "X"}, {"features": ["X"]}])
def test_an_input_that_all_columns_are_mapped_to_takes_them_whole(mapped: dict[str, Any]) -> None:
    found = feeding(NUMBERS, [single("X", "float64", 3)], **mapped)
    assert found.faults == []
    assert found.fed({"features": np.array([[1, 2, 3]], np.float32)})["X"].tolist() == [[1, 2, 3]]


def test_a_graph_with_an_input_of_the_feeds_own_name_is_fed_whole() -> None:
    found = feeding(NUMBERS, [single("features", "float32", 3), single("a", "float32", 1)])
    assert [fault.detail[:24] for fault in found.faults] == ["the pipeline has no feed"]


def test_a_table_of_texts_goes_to_one_input_whole() -> None:
    texts = TensorSpec("features", ROW, (2,), columns=tuple(TensorSpec(n, "string", (1,)) for n in "ab"))
    found = feeding(texts, [single("X", "string", 2)], features="X")
    assert found.faults == []
    rows = np.array([("é", "q"), ("", "r")], [("a", "O"), ("b", "O")])
    assert found.fed({"features": rows})["X"].tolist() == [["é", "q"], ["", "r"]]


def test_a_matrix_that_goes_whole_is_not_copied() -> None:
    rows = np.array([[1, 2, 3]], np.float32)
    assert feeding(NUMBERS, [single("features", "float32", 3)]).fed({"features": rows})["features"] is rows


@pytest.mark.parametrize(
    ("column", "element", "words"),
    [
        ("age", "int64", "'age' has another element type, int64.*`type = \"integer\"`"),
        ("age", "string", "'age' has another element type, string.*`type = \"category\"`"),
        ("age", "int32", "'age' has another element type, int32.*`type = \"integer\"`"),
        ("visits", "bool", "'visits' has another element type, bool.*`type = \"boolean\"`"),
        ("visits", "string", "'visits' has another element type, string.*`type = \"text\"`, without `as = "),
        ("smoker", "uint8", "uint8, which bool does not convert to: the pipeline needs"),
        ("age", "bool", "'age' has another element type, bool.*`type = \"boolean\"`"),
        ("serial", "int32", "'serial' has another element type, int32.*`maximum` that 32 bits hold"),
        ("sex", "int64", "'sex' has another element type, int64.*`as = \"index\"`"),
        ("sex", "float32", "'sex' has another element type, float32.*`as = \"index\"`"),
        ("stage", "string", "'stage' has another element type, string.*without `as = \"index\"`"),
        ("visits", "float16", "'visits' has another element type, float16, which int32 does not convert to:"),
        ("smoker", "string", "'smoker' has another element type, string"),
    ],
)
def test_a_type_that_does_not_convert_is_refused_with_what_to_write(
    column: str, element: str, words: str
) -> None:
    [fault] = feeding(MIXED, own_inputs(**{column: element})).faults
    assert (fault.place, fault.code) == ("manifest.toml: graph.inputs", "input_differs")
    assert re.search(words, fault.detail), fault.detail


def test_a_name_with_dots_is_shown_as_the_manifest_must_write_it() -> None:
    fed = feeding(TensorSpec("past_key_values.0.key", "float32", (2,)), [])
    [fault] = fed.faults
    assert 'so write `inputs."past_key_values.0.key" = ...` in [graph]' in fault.detail
    assert tomllib.loads('inputs."past_key_values.0.key" = "k"') == {"inputs": {"past_key_values.0.key": "k"}}


@pytest.mark.parametrize(
    ("inputs", "mapped", "words"),
    [
        ("ab", {}, ["'c' is missing: the graph's inputs are 'a', 'b', so write `inputs.c = ...` in [graph]"]),
        ("abcd", {}, ["no feed 'd'"]),
        ("xyz", {}, ["no feed 'x'", "no feed 'y'", "no feed 'z'", "`inputs.features = ...`"]),
        (
            "abc",
            {"features": "X"},
            ["'features' is mapped to 'X'", "no feed 'a'", "no feed 'b'", "no feed 'c'"],
        ),
        ("abc", {"features": ["a", "b"]}, ["'features' does not have 2 columns", "no feed 'c'"]),
        ("abc", {"features": ["a", "b", "c"], "a": "a"}, ["not both"]),
        ("abc", {"a": ["a", "b"], "c": "c"}, ["'a' is one column: name one input"]),
        ("abc", {"d": "c"}, ["the pipeline knows no 'd'; it has 'features', 'a', 'b', 'c': rename"]),
        ("abz", {"d": "z"}, ["the pipeline knows no 'd'"]),
        ("abc", {"b": "a"}, ["'features' has another shape", "no feed 'b'"]),
        (
            "abc",
            {"a": "z"},
            [
                "'a' is mapped to 'z', and the graph's inputs are 'a', 'b', 'c': remove the key `inputs.a`",
                "no feed 'a'",
            ],
        ),
        ("abd", {"c": "z"}, ["'c' is mapped to 'z'.*: correct the key `inputs.c` in", "no feed 'd'"]),
    ],
)
def test_columns_and_inputs_that_do_not_meet_are_named(
    inputs: str, mapped: dict[str, Any], words: list[str]
) -> None:
    faults = feeding(NUMBERS, [single(name, "float32", 1) for name in inputs], **mapped).faults
    for part in words:
        assert any(part in fault.detail or re.match(part, fault.detail) for fault in faults), (part, faults)
    assert len(faults) == len(words), faults
    assert {fault.place for fault in faults} == {"manifest.toml: graph.inputs"}
    unknown = {"graph_name_unknown"} if "d" in mapped else set()
    assert {fault.code for fault in faults} <= {"input_differs"} | unknown


def test_what_all_columns_share_is_said_once_and_of_the_feed() -> None:
    for element in ("int64", "int32"):
        [fault] = feeding(NUMBERS, [single("X", element, 3)], features="X").faults
        assert fault.detail == (
            f"'features' has another element type, {element}, which float32 does not convert to; "
            'give the feature `type = "integer"`: the pipeline needs float32 [N, 3]'
        )
    columns = (TensorSpec("age", "float64", (1,)), TensorSpec("sex", "string", (1,)))
    [fault] = feeding(
        TensorSpec("features", ROW, (2,), columns=columns), [single("X", "float64", 2)], features="X"
    ).faults
    assert fault.detail.startswith("'sex' has another element type, float64")
    faults = feeding(NUMBERS, [single("X", "int64", 2), single("c", "int64", 1)], features="X", c="c").faults
    assert [fault.detail[:3] for fault in faults] == ["'a'", "'b'", "'c'"]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (Tensor("x", "float32", (None, 3, 8)), None),
        (Tensor("x", "int64", (None, 3, 8)), "another element type, int64"),
        (
            Tensor("x", "float32", (None, 3, 4)),
            "another shape, [N, 3, 4]: the pipeline needs float32 [N, 3, 8]",
        ),
        (Tensor("x", "float32", (None, None)), "another shape, [N, any]: the pipeline"),
        (Tensor("x", "float32", (7, 3, 8)), "a fixed number of rows"),
        (Tensor("x", "float32", (1, None, None)), None),
    ],
)
def test_a_feed_without_columns_meets_its_input_whole(tensor: Tensor, words: str | None) -> None:
    faults = feeding(TensorSpec("x", "float32", (3, 8)), [tensor]).faults
    assert [words is not None and words in fault.detail for fault in faults] == (
        [] if words is None else [True]
    )


@pytest.mark.parametrize(
    ("dtype", "element", "fits"),
    [
        ("float64", "float32", False),
        ("float32", "float16", False),
        ("int64", "float32", False),
        ("int64", "float64", False),
        ("int32", "float32", False),
        ("float16", "float32", True),
        ("float32", "float64", True),
        ("int32", "int64", True),
        ("int32", "float64", True),
        ("bool", "float32", True),
        ("uint8", "uint8", True),
    ],
)
def test_an_exact_feed_goes_to_no_input_that_holds_less(dtype: str, element: str, fits: bool) -> None:
    faults = feeding(TensorSpec("x", dtype, (3,), exact=True), [single("x", element, 3)]).faults
    words = f"'x' has another element type, {element}, which cannot hold every {dtype}: declare it as the graph does"
    assert [fault.detail.partition(": the pipeline needs")[0] for fault in faults] == (
        [] if fits else [words]
    )


def test_two_feeds_that_meet_in_one_input_are_refused() -> None:
    feeds = (TensorSpec("one", "float32", (1,)), TensorSpec("other", "float32", (1,)))
    table = GraphTable.model_validate({"inputs": {"one": "X", "other": "X"}})
    faults = Feeding(table, feeds, [single("X", "float32", 1)]).faults
    assert [fault.detail for fault in faults] == ["two feeds go to the input 'X': map one elsewhere"]


@pytest.mark.parametrize(("element", "most"), [("float16", 65504.0), ("float32", 3.4028234663852886e38)])
@pytest.mark.parametrize("whole", [True, False])
def test_a_number_beyond_the_type_of_its_input_is_not_fed_as_infinite(
    element: str, most: float, *, whole: bool
) -> None:
    spec = TensorSpec("x", "float64", (2,), columns=tuple(TensorSpec(name, "float64", (1,)) for name in "ab"))
    inputs = [single("x", element, 2)] if whole else [single(name, element, 1) for name in "ab"]
    found = feeding(spec, inputs)
    assert found.faults == []
    fed = found.fed({"x": np.array([[most, -most], [0, 1]])})
    assert max(value.max() for value in fed.values()) == most
    with pytest.raises(PredictionInvalid) as beyond:
        found.fed({"x": np.array([[0, 1], [1, -most * 1.01], [most, 1]])})
    assert beyond.value.rows == (1,)
    assert element in beyond.value.reason


def test_an_infinite_number_is_fed_as_it_is() -> None:
    found = feeding(TensorSpec("x", "float64", (1,)), [single("x", "float32", 1)])
    assert found.fed({"x": np.array([[np.inf], [np.nan]])})["x"][0, 0] == np.inf
