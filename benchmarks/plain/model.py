"""The same bundled model for the twin: its input as a pydantic class, its graph as one session a process."""

from typing import Any

import numpy as np
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field, create_model

from benchmarks.cases import MODEL, MODEL_FOLDER, parameters

FEATURES = [feature.name for feature in parameters().numbers]


class Strict(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _input_class() -> type[Strict]:
    fields: dict[str, Any] = {
        feature.name: (float, Field(ge=feature.minimum, le=feature.maximum))
        for feature in parameters().numbers
    }
    return create_model("Input", __base__=Strict, **fields)


Input = _input_class()


class Submit(Strict):
    """The body of a submit."""

    model: str = Field(pattern=f"^{MODEL}$")
    input: Input  # type: ignore[valid-type]  # made from the manifest's features


class Model:
    """The graph in this process, scored one case at a time with one thread."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(MODEL_FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._labels = [label.id for label in parameters().labels]
        threshold = parameters().threshold
        assert threshold is not None
        self._threshold = threshold.value

    def score(self, case: dict[str, float]) -> dict[str, Any]:
        """Label and probabilities of one case."""
        row = np.array([[case[name] for name in FEATURES]], dtype=np.float32)
        positive = float(self._session.run(["probability"], {"features": row})[0][0, 0])
        return {
            "label": self._labels[positive >= self._threshold],
            "probabilities": dict(zip(self._labels, (1.0 - positive, positive), strict=True)),
            "threshold": self._threshold,
        }
