"""Tables with words in a worker: fetched, warmed up and scored by its own ONNX Runtime, alone and in a micro-batch."""

from pathlib import Path

import pytest

from models.bundle import read_bundle
from models.pipelines import Case
from service.config import Provider
from tests.unit.models.test_foreign_words import FOREIGN, PREDICTED, published, sent
from tests.unit.workers.shelf import Shelf
from workers.pool import ModelPool
from workers.runtime import OnnxRuntime


@pytest.mark.parametrize("name", FOREIGN)
def test_a_worker_answers_as_scikit_learn_does(name: str, tmp_path: Path) -> None:
    shelf = Shelf()
    model = shelf.put(read_bundle(published(tmp_path / "bundle", name)))
    runtime = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
    loaded = ModelPool(runtime, shelf, shelf.blobs, cache=tmp_path / "cache", budget_mb=1000).get(model.id)
    cases = [Case(model.encode(sent(case["input"]))) for case in PREDICTED[name]]
    together = loaded.scoring.score(loaded.graphs.run, cases)
    alone = [loaded.scoring.score(loaded.graphs.run, [case])[0] for case in cases]
    names = [label.id for label in model.pipeline.labels()]
    expected = [dict(zip(names, case["probabilities"], strict=True)) for case in PREDICTED[name]]
    for answers in (together, alone):
        for answer, probabilities in zip(answers, expected, strict=True):
            assert answer.result["probabilities"] == pytest.approx(probabilities, abs=1e-6)
