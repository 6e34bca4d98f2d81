"""What a worker refuses is written down for health checks and doctor, and taken away with the refusal."""

from functools import partial
from pathlib import Path

import pytest

from service.catalog import PublishedModel
from service.refusals import Refusal, read_refusals, refusals_file, write_refusals
from tests.unit.workers.shelf import Shelf, small_bundle
from workers.refusals import OTHER_WORKER, REFUSED_S, ModelRefused, Refusals


@pytest.fixture
def model(tmp_path: Path) -> PublishedModel:
    return Shelf().put(small_bundle(tmp_path / "m", "m"))


def test_what_is_refused_is_written_down_until_it_is_lifted(tmp_path: Path, model: PublishedModel) -> None:
    path = refusals_file(tmp_path / "data", "worker-1")
    refusals = Refusals(partial(write_refusals, path))
    refusals.refuse(model, "it does not fit into memory, even alone")
    assert read_refusals(path) == {
        "m 1.0.0": Refusal("it does not fit into memory, even alone", OTHER_WORKER)
    }
    refusals.lift(model.id)
    assert not path.exists()
    assert read_refusals(path) == {}


def test_a_long_reason_is_shortened(model: PublishedModel) -> None:
    refusals = Refusals()
    refusals.refuse(model, "x" * 40_000)
    assert refusals.by_model()["m 1.0.0"].reason == "x" * 597 + "..."


def test_a_folder_that_cannot_be_written_to_stops_no_worker(tmp_path: Path, model: PublishedModel) -> None:
    (tmp_path / "run").write_text("no folder")
    refusals = Refusals(partial(write_refusals, refusals_file(tmp_path, "worker-1")))
    refusals.refuse(model, "x")
    with pytest.raises(ModelRefused, match="x"):
        refusals.check(model.id)


def test_a_model_may_be_tried_again_after_a_while(model: PublishedModel) -> None:
    now = [0.0]
    refusals = Refusals(clock=lambda: now[0])
    refusals.refuse(model, "x")
    assert refusals.current() == {model.id}
    now[0] = REFUSED_S
    refusals.check(model.id)
    assert refusals.current() == set()


def test_a_record_of_the_previous_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.refused").write_text('{"m 1.0.0": "it cannot be loaded"}')
    assert read_refusals(tmp_path / "w.refused")["m 1.0.0"].reason == "it cannot be loaded"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"m": {"why": "x"}}', "\udcff"])
def test_a_record_that_cannot_be_read_names_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "w.refused").write_bytes(content.encode(errors="surrogateescape"))
    assert read_refusals(tmp_path / "w.refused") == {}
