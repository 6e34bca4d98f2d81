"""The last linear layer of foreign graphs: found, moved as asked, and fitted to rows."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.bundle import ZOO
from models.refits.head_fit import STRENGTHS, Fitted, best_step, folds_of, stepped
from models.refits.linear_head import features_of, head_of, output_of
from models.training.calibration import softmax
from tests.unit.models.example_bundles import graph

FOREIGN = Path(__file__).parent / "foreign"
CHANCE = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("name", "form", "usual"),
    [
        ("sklearn-tensor", "probabilities", (14.5, 19, 95, 680)),
        ("torch-legacy", "logits", (1, 1, 1, 1)),
        ("torch-dynamo", "logits", (1, 1, 1, 1)),
    ],
)
def test_a_layer_is_moved_as_asked(name: str, form: str, usual: tuple[float, ...]) -> None:
    model = onnx.load(str(FOREIGN / f"{name}.onnx"))
    fed, output = model.graph.input[0].name, form
    rows = (CHANCE.uniform(0.8, 1.2, (30, 4)) * usual).astype(np.float32)
    feeds = [{fed: rows[:10]}, {fed: rows[10:]}]
    head = head_of(model, output, form, None)
    assert head is not None
    assert head.has_offset
    before = output_of(model, output, feeds)
    logits = before if form == "logits" else np.log(before)
    features = features_of(model, head, feeds)
    step = CHANCE.normal(0, 0.05, (features.shape[1], len(head.free)))
    shift = np.linspace(-1, 1, len(head.free))
    head.move(model, step, shift)
    onnx.checker.check_model(model, full_check=True)
    after = output_of(model, output, feeds)
    wanted = stepped(logits, features, head.free, step, shift)
    assert np.abs(wanted - softmax(logits)).max() > 0.05
    np.testing.assert_allclose(softmax(after) if form == "logits" else after, wanted, atol=1e-4)


def test_a_single_score_is_moved_for_the_positive_label() -> None:
    model = graph()
    [value] = [each.name for each in model.graph.output]
    head = head_of(model, value, "probability", 1)
    assert head is not None
    assert head.free == (1,)
    feeds = [{model.graph.input[0].name: np.array([[10, 40], [30, 20]], np.float32)}]
    before, features = output_of(model, value, feeds), features_of(model, head, feeds)
    step = np.array([[0.01], [-0.02]])
    head.move(model, step, np.zeros(1))
    odds = np.log(before / (1 - before)) + features @ step
    np.testing.assert_allclose(output_of(model, value, feeds), 1 / (1 + np.exp(-odds)), atol=1e-5)


@pytest.mark.parametrize("name", ["breast-cancer-wisconsin", "heart-disease-cleveland"])
def test_blends_have_no_last_layer(name: str) -> None:
    model = onnx.load(str(ZOO / name / "model.onnx"))
    assert head_of(model, "probability", "probability", 1) is None


@pytest.mark.parametrize("name", ["sklearn-strings", "lightgbm", "xgboost"])
def test_trees_have_no_last_layer(name: str) -> None:
    model = onnx.load(str(FOREIGN / f"{name}.onnx"))
    for value in model.graph.output:
        assert head_of(model, value.name, "probabilities", None) is None


def rows_of(count: int, *, weight: float) -> Fitted:
    """Rows whose log odds rise with a feature by `weight` more than the parent's logits say."""
    features = CHANCE.normal(0, 1, (count, 3)) * [1, 10, 0] + [0, 5, 2]
    odds = 0.5 * features[:, 0] + weight * (features[:, 1] - 5) / 10
    truth = (CHANCE.uniform(size=count) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    logits = np.stack([np.zeros(count), 0.5 * features[:, 0]], axis=1)
    return Fitted(features, logits, truth, range(count))


@pytest.mark.parametrize(("free", "column"), [((1,), 0), ((0, 1), 1)])
def test_a_step_finds_what_the_parent_does_not_know(free: tuple[int, ...], column: int) -> None:
    rows = rows_of(8000, weight=1.5)
    step = best_step(rows, free, offset=True, positive=1)
    assert step is not None
    difference = step.weights[:, column] - (step.weights[:, 0] if column else 0)
    assert difference == pytest.approx([0, 0.15, 0], abs=0.08)
    found = stepped(rows.logits, rows.features, free, step.weights, step.offset)
    assert found.mean(0)[1] == pytest.approx(rows.truth.mean(), abs=0.01)
    assert step.strength in STRENGTHS


def test_a_ward_that_the_parent_knows_is_left_to_recalibration() -> None:
    assert best_step(rows_of(200, weight=0), (1,), offset=True, positive=1) is None


def test_folds_divide_no_group() -> None:
    folds = folds_of([place // 3 for place in range(60)]).reshape(20, 3)
    assert (folds == folds[:, :1]).all()
    assert set(folds.ravel()) == set(range(5))
