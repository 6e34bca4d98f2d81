"""Outputs of a graph in the pipeline's terms: names, element types, maps of classes, one row at a time."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.fitting import Fitting
from models.manifest import GraphTable, ManifestInvalid
from models.pipelines import Array, GraphSpec, PredictionInvalid, TensorSpec
from models.signature import CLASS_MAPS, Signature, Tensor, signature_of
from tests.unit.models.example_bundles import told

FEED = TensorSpec("rows", "float32", (2,))
SHARES = TensorSpec("shares", "float32", (2,), classes=("well", "ill"))
SCORE = TensorSpec("score", "float32", (1,))
ROWS = Tensor("rows", "float32", (None, 2))
FED = {"rows": np.array([[1, 2], [3, 4], [5, 6]], np.float32)}


def fitting(*given: Tensor, wanted: TensorSpec = SHARES, rows: Tensor = ROWS, **table: Any) -> Fitting:
    spec = GraphSpec((FEED,), (wanted,))
    return Fitting(GraphTable.model_validate(table), spec, Signature((rows,), given))


def ran(found: Fitting, outputs: Mapping[str, Any]) -> Array:
    """What a pipeline gets of a graph that gives `outputs`."""
    [value] = found.run(lambda fed: outputs, FED).values()
    return value


def test_an_output_is_given_by_the_pipelines_name_and_as_its_type() -> None:
    found = fitting(Tensor("p", "float64", (None, 2)), outputs={"shares": "p"})
    value = ran(found, {"p": np.array([[0.25, 0.75]]), "more": 3})
    assert (value.dtype.name, value.tolist()) == ("float32", [[0.25, 0.75]])
    assert not found.one_row


def test_an_output_that_fits_is_not_copied() -> None:
    shares = np.array([[0.25, 0.75]], np.float32)
    assert ran(fitting(Tensor("shares", "float32", (None, 2))), {"shares": shares}) is shares


def test_a_list_of_scores_is_read_as_a_column() -> None:
    found = fitting(Tensor("score", "float32", (None,)), wanted=SCORE)
    assert ran(found, {"score": np.array([1, 2, 3], np.float32)}).tolist() == [[1], [2], [3]]


@pytest.mark.parametrize("names", [("ill", "well"), (1, 0)])
def test_maps_of_classes_become_columns_in_the_order_of_the_labels(names: tuple[Any, Any]) -> None:
    found = fitting(Tensor("shares", CLASS_MAPS, ()))
    ill, well = names
    value = ran(found, {"shares": [{ill: 0.75, well: 0.25}, {ill: 0.5, well: 0.5}]})
    assert (value.dtype.name, value.tolist()) == ("float32", [[0.25, 0.75], [0.5, 0.5]])
    assert ran(found, {"shares": []}).shape == (0, 2)


@pytest.mark.parametrize("classes", [(-1, 1), (1, -1), (1, 0), ("1", "0"), ("ill", "well")])
def test_maps_of_the_classes_that_the_manifest_lists_become_columns_in_their_order(
    classes: tuple[Any, Any],
) -> None:
    """Also where they are the labels' ids, or numbers from 0, in another order."""
    found = fitting(Tensor("shares", CLASS_MAPS, ()), classes=list(classes))
    first, second = classes
    assert ran(found, {"shares": [{second: 0.75, first: 0.25}]}).tolist() == [[0.25, 0.75]]
    assert ran(found, {"shares": []}).shape == (0, 2)
    with pytest.raises(PredictionInvalid, match="list them as `classes` in \\[graph\\]"):
        ran(found, {"shares": [{first: 0.75, "other": 0.25}]})


@pytest.mark.parametrize("classes", [[1], [1, 2, 4]])
def test_classes_of_another_number_than_the_labels_are_refused(classes: list[int]) -> None:
    with pytest.raises(ManifestInvalid, match=f"{len(classes)} classes for 2 labels"):
        fitting(Tensor("shares", CLASS_MAPS, ()), classes=classes)


@pytest.mark.parametrize("names", [("ill", "other"), (1, 2), ("0", "1"), ("ill",), ("ill", "well", "other")])
def test_maps_of_other_classes_are_no_prediction(names: tuple[Any, ...]) -> None:
    found = fitting(Tensor("shares", CLASS_MAPS, ()))
    with pytest.raises(PredictionInvalid, match="write them as the ids of `labels`") as caught:
        ran(found, {"shares": [dict.fromkeys(names, 0.5)] * 3})
    assert caught.value.rows == (0, 1, 2)


@pytest.mark.parametrize(
    ("rows", "table"),
    [(ROWS, {"row_by_row": True}), (Tensor("rows", "float32", (1, 2)), {})],
)
def test_a_graph_of_one_row_is_run_row_by_row(rows: Tensor, table: dict[str, Any]) -> None:
    found = fitting(Tensor("shares", "float32", (None, 2)), rows=rows, **table)
    fed: list[Any] = []

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        fed.append(feeds["rows"].tolist())
        return {"shares": feeds["rows"] / 10}

    assert found.one_row
    assert found.run(run, FED)["shares"] == pytest.approx(FED["rows"] / 10)
    assert fed == [[[1, 2]], [[3, 4]], [[5, 6]]]


@pytest.mark.parametrize(
    ("given", "wanted", "table", "detail"),
    [
        (Tensor("shares", "string", (None, 2)), SHARES, {}, "'shares' has another element type, string"),
        (Tensor("shares", "int64", (None, 2)), SHARES, {}, "'shares' has another element type, int64, as labels have"),
        (Tensor("shares", "float32", (None, 3)), SHARES, {}, "'shares' has 3 scores where `labels` has 2: list one label"),
        (Tensor("shares", "float32", (None, 1)), SHARES, {}, "has 1 score where `labels` has 2: if it is the probability of"),
        (Tensor("shares", "float32", (None,)), SHARES, {}, "'shares' has another shape"),
        (Tensor("shares", "float32", (None, 2, 1)), SHARES, {}, "'shares' has another shape"),
        (Tensor("shares", "float32", (3, 2)), SHARES, {}, "has a fixed number of rows: export it with a"),
        (Tensor("score", CLASS_MAPS, ()), SCORE, {}, "'score' is a map of classes, which the pipeline cannot"),
        (Tensor("p", "float32", (None, 2)), SHARES, {}, "the graph's outputs are 'p', so write `outputs.shares = "),
        (Tensor("p", "float32", (None, 2)), SHARES, {"shares": "q"}, "'q', and the graph's outputs are 'p': correct the key"),
        (Tensor("p", "float32", (None, 2)), SHARES, {"share": "p"}, "knows no 'share'; it has 'shares': rename the key"),
    ],
)  # fmt: skip
def test_an_output_that_cannot_be_read_is_refused_with_what_to_write(
    given: Tensor, wanted: TensorSpec, table: dict[str, str], detail: str
) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        fitting(given, wanted=wanted, outputs=table)
    [fault] = caught.value.faults
    code = "graph_name_unknown" if "knows no" in detail else "output_differs"
    assert told([fault]) == {("manifest.toml: graph.outputs", code)}
    assert detail in fault.detail
    if code == "output_differs":
        assert fault.detail.endswith(f"the pipeline needs float32 [N, {wanted.shape[0]}]")


@pytest.mark.parametrize("element", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(None, 2), (None, None), (1, 2), ()])
def test_scores_of_any_float_and_of_a_shape_that_is_not_told_are_read(
    element: str, shape: tuple[int | None, ...]
) -> None:
    found = fitting(Tensor("shares", element, shape))
    assert ran(found, {"shares": np.array([[0, 1]], element)}).dtype == np.float32


@pytest.mark.parametrize(("count", "more"), [(20, ""), (21, " and 1 more"), (300, " and 280 more")])
def test_of_many_names_the_first_twenty_are_told(count: int, more: str) -> None:
    given = [Tensor(f"t{number}", "float32", (None, 2)) for number in range(count)]
    with pytest.raises(ManifestInvalid) as caught:
        fitting(*given)
    [fault] = caught.value.faults
    names = ", ".join(f"'t{number}'" for number in range(20))
    assert f"the graph's outputs are {names}{more}, so write" in fault.detail


def test_a_graph_without_inputs_is_told_to_have_none() -> None:
    with pytest.raises(ManifestInvalid, match=r"the graph's inputs are none, so write `inputs.rows = "):
        Fitting(GraphTable.model_validate({}), GraphSpec((FEED,), ()), Signature((), ()))


def test_the_types_of_a_session_are_told_in_numpys_words() -> None:
    inputs = [
        SimpleNamespace(name="a", type="tensor(float)", shape=["rows", 2]),
        SimpleNamespace(name="b", type="tensor(double)", shape=[None, "n"]),
        SimpleNamespace(name="c", type="tensor(string)", shape=[1]),
    ]
    outputs = [
        SimpleNamespace(name="d", type="seq(map(string,tensor(float)))", shape=[]),
        SimpleNamespace(name="e", type="seq(map(int64,tensor(float)))", shape=[]),
        SimpleNamespace(name="f", type="tensor(int64)", shape=["rows"]),
        SimpleNamespace(name="g", type="seq(tensor(float))", shape=["rows"]),
    ]
    session = SimpleNamespace(get_inputs=lambda: inputs, get_outputs=lambda: outputs)
    assert signature_of(session) == Signature(
        (
            Tensor("a", "float32", (None, 2)),
            Tensor("b", "float64", (None, None)),
            Tensor("c", "string", (1,)),
        ),
        (
            Tensor("d", CLASS_MAPS, ()),
            Tensor("e", CLASS_MAPS, ()),
            Tensor("f", "int64", (None,)),
            Tensor("g", "seq(tensor(float))", (None,)),
        ),
    )


@pytest.mark.parametrize("taken", [True, False])
def test_an_optional_feed_goes_to_graphs_that_have_an_input_for_it(taken: bool) -> None:
    places = TensorSpec("places", "int64", (-1,), optional=True)
    inputs = (ROWS, *([Tensor("at", "int64", (None, None))] if taken else []))
    table = GraphTable.model_validate({"inputs": {"places": "at"}} if taken else {})
    found = Fitting(
        table,
        GraphSpec((FEED, places), (SCORE,)),
        Signature(inputs, (Tensor("score", "float32", (None, 1)),)),
    )
    fed: list[set[str]] = []

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        fed.append(set(feeds))
        return {"score": np.zeros((3, 1), np.float32)}

    found.run(run, FED | {"places": np.zeros((3, 4), np.int64)})
    assert fed == [{"rows", "at"} if taken else {"rows"}]


def test_an_optional_feed_that_is_mapped_to_no_input_is_a_fault() -> None:
    places = TensorSpec("places", "int64", (-1,), optional=True)
    table = GraphTable.model_validate({"inputs": {"places": "elsewhere"}})
    with pytest.raises(ManifestInvalid, match="'places' is mapped to 'elsewhere'"):
        Fitting(table, GraphSpec((FEED, places), ()), Signature((ROWS,), ()))


def test_a_lone_feed_that_a_graph_lacks_leaves_it_to_be_run_row_by_row() -> None:
    branch = TensorSpec("branch", "bool", (), lone=True, optional=True)
    one = Tensor("rows", "float32", (1, 2))
    assert Fitting(
        GraphTable.model_validate({}), GraphSpec((FEED, branch), ()), Signature((one,), ())
    ).one_row
