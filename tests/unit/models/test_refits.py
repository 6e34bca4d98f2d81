"""Recalibration of a graph: its outputs become what the calibration says, whatever form the scores have."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.bundle import BundleRefused
from models.refits.calibrating import Calibration, calibrate_graph, fitted
from models.refits.making import is_above, raised
from models.refits.recalibration import _moved
from models.sandbox import CpuRun
from models.training.calibration import softmax

CHANCE = np.random.default_rng(3)
TWO = CHANCE.normal(0, 2, (200, 2))
THREE = CHANCE.normal(0, 2, (200, 3))
PLATT = Calibration(0.6, -0.8, positive=1)
WARMER = Calibration(0.5)


def graph(width: int, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A graph that gives back what it is fed, as `scores`."""
    shape: list[str | int | None] = ["rows", width]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["fed"], ["scores"])],
            "given",
            [helper.make_tensor_value_info("fed", kind, shape)],
            [helper.make_tensor_value_info("scores", kind, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


@pytest.mark.parametrize(
    ("form", "found", "logits"),
    [
        ("probability", PLATT, TWO),
        ("logit", PLATT, TWO),
        ("probabilities", PLATT, TWO),
        ("logits", PLATT, TWO),
        ("probabilities", WARMER, THREE),
        ("logits", WARMER, THREE),
    ],
)
def test_the_graph_gives_the_calibrated_scores_twice_over(
    form: str, found: Calibration, logits: np.ndarray, tmp_path: Path
) -> None:
    stated = softmax(logits)
    odds = logits[:, 1:] - logits[:, :1]
    scores = {"probability": stated[:, 1:], "logit": odds, "probabilities": stated, "logits": logits}[form]
    model = graph(scores.shape[1])
    wanted, output = stated, "scores"
    for _ in range(2):  # a refit may be refitted
        output = calibrate_graph(model, output, form, found)
        wanted = found.probabilities(wanted)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(tmp_path / "model.onnx"))
        given = CpuRun()(tmp_path / "model.onnx", {"fed": scores.astype(np.float32)})
        assert list(given) == [output]
        told = np.asarray(given[output], np.float64)
        if form == "logits":
            told = softmax(told)
        if form == "logit":
            told = 1 / (1 + np.exp(-told))
        expected = wanted[:, 1:] if scores.shape[1] == 1 else wanted
        np.testing.assert_allclose(told, expected, atol=2e-5)


def test_probabilities_of_0_and_1_stay_finite(tmp_path: Path) -> None:
    model = graph(1)
    output = calibrate_graph(model, "scores", "probability", PLATT)
    onnx.save(model, str(tmp_path / "model.onnx"))
    given = CpuRun()(tmp_path / "model.onnx", {"fed": np.array([[0.0], [1.0]], np.float32)})[output]
    assert ((given > 0) & (given < 1)).all()


def test_scores_of_another_type_of_float_are_taken(tmp_path: Path) -> None:
    model = graph(1, TensorProto.DOUBLE)
    output = calibrate_graph(model, "scores", "probability", PLATT)
    onnx.save(model, str(tmp_path / "model.onnx"))
    given = CpuRun()(tmp_path / "model.onnx", {"fed": np.array([[0.3]])})[output]
    assert given.dtype == np.float32
    assert given[0, 0] == pytest.approx(PLATT.threshold(0.3), abs=1e-5)


def test_a_threshold_moves_with_the_probability() -> None:
    for old in (0.05, 0.3, 0.9):
        moved = PLATT.probabilities(np.array([[1 - old, old]]))[0, 1]
        assert PLATT.threshold(old) == pytest.approx(moved, abs=1e-6)
    assert (PLATT.threshold(0.0), PLATT.threshold(1.0)) == (0, 1)


def test_the_calibration_of_a_population_is_found_again() -> None:
    stated = softmax(np.random.default_rng(1).normal(0, 2, (20_000, 2)))
    truth = (np.random.default_rng(2).uniform(size=20_000) < PLATT.probabilities(stated)[:, 1]).astype(int)
    found = fitted(stated, truth, 1)
    assert found.scale == pytest.approx(PLATT.scale, abs=0.03)
    assert found.offset == pytest.approx(PLATT.offset, abs=0.05)
    many = softmax(np.random.default_rng(4).normal(0, 2, (20_000, 3)))
    shares = WARMER.probabilities(many).cumsum(1)
    drawn = (np.random.default_rng(5).uniform(size=(20_000, 1)) > shares).sum(1)
    assert fitted(many, drawn, None).scale == pytest.approx(WARMER.scale, abs=0.02)


def test_labels_that_contradict_the_probabilities_are_refused() -> None:
    stated = softmax(TWO)
    with pytest.raises(BundleRefused, match="refit_contradicts"):
        fitted(stated, (stated[:, 1] < 0.5).astype(np.int64) ^ (np.arange(200) % 5 == 0), 1)


def test_maps_and_old_operator_sets_are_refused_with_advice() -> None:
    maps = graph(2)
    maps.graph.output[0].CopyFrom(
        helper.make_value_info(
            "scores",
            helper.make_sequence_type_proto(
                helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, []))
            ),
        )
    )
    with pytest.raises(BundleRefused, match="zipmap=False"):
        calibrate_graph(maps, "scores", "probabilities", PLATT)
    old = graph(2)
    old.opset_import[0].version = 6
    with pytest.raises(BundleRefused, match="refit_operator_set"):
        calibrate_graph(old, "scores", "probabilities", PLATT)


def test_the_version_is_the_next_minor_one_that_is_free() -> None:
    assert raised("1.0.2", set()) == "1.1.0"
    assert raised("1.0.2-fp16", {"1.1.0", "1.2.0"}) == "1.3.0"


def test_versions_are_compared_by_their_precedence() -> None:
    """The example of https://semver.org/#spec-item-11, and numbers that a comparison of texts gets wrong."""
    early = ("alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1")
    ordered = [*(f"1.0.0-{each}" for each in early), "1.0.0", "1.9.0", "1.10.0", "10.0.0"]
    for place, version in enumerate(ordered):
        assert [is_above(version, other) for other in ordered] == [place > at for at in range(len(ordered))]
    assert not is_above("1.0.0+b", "1.0.0+a")


def test_a_grey_zone_without_a_positive_label_holds_as_many_rows() -> None:
    stated = softmax(THREE)
    moved = _moved({"abstain": {"lower": 0.0, "upper": 0.6}}, WARMER, stated)["abstain"]
    calibrated = WARMER.probabilities(stated).max(1)
    assert moved["lower"] == 0
    assert moved["upper"] < 0.6
    assert (calibrated < moved["upper"]).sum() == pytest.approx((stated.max(1) < 0.6).sum(), abs=1)
    none_below = _moved({"abstain": {"lower": 0.0, "upper": 0.7}}, Calibration(0.1), softmax(50 * THREE))[
        "abstain"
    ]
    assert none_below["upper"] < 0.7
