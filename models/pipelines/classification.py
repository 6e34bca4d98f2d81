"""Results of pipelines that answer one of a few classes, computed from the outputs of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.lazy import np
from models.pipelines import Label, PredictionInvalid, TensorSpec
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.schema_columns import COLUMN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pipelines import Array
    from models.pipelines.columns import ResultColumn

NOVELTY = "novelty"
# How far a probability may leave [0, 1], or a row of them its sum of 1, and still count as rounding: float16 has 11 bits.
_ROUNDING = 1e-4
_SUM_ROUNDING = 1e-3


class Classifier:
    """Turns probabilities into results. Immutable; contains the manifest's parameters of the classes."""

    def __init__(self, parameters: ClassificationParameters) -> None:
        self._parameters = parameters
        self._labels = tuple(
            Label(**label.model_dump(), positive=label.id == parameters.positive)
            for label in parameters.labels
        )
        self._ids = tuple(label.id for label in self._labels)
        self._words = {
            "label": self._ids,
            "display": tuple(label.display for label in self._labels),
            "code_system": tuple(label.system for label in self._labels),
            "code": tuple(label.code for label in self._labels),
        }
        band, novelty = parameters.abstain, parameters.novelty
        self._reasons = ("" if band is None else band.reason, "" if novelty is None else novelty.reason)
        positive = parameters.positive
        self._positive = self._ids.index(positive) if positive is not None else None

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Float32: the scores, [N,1] of the positive label or [N,C], see the module; `novelty` [N,1] where it has a limit."""
        novelty = () if self._parameters.novelty is None else (TensorSpec(NOVELTY, "float32", (1,)),)
        if self._parameters.scores in {"probability", "logit"}:
            positive = self._parameters.positive
            score = TensorSpec(self._parameters.scores, "float32", (1,), one_of=self._ids, positive=positive)
            return (score, *novelty)
        return (TensorSpec(self._parameters.scores, "float32", (len(self._labels),), self._ids), *novelty)

    def labels(self) -> list[Label]:
        """The classes, in the graph's order."""
        return list(self._labels)

    def results(self, outputs: Mapping[str, Array], count: int) -> list[dict[str, object]]:
        """The graph's `outputs` ([count,1] or [count,C], float) as results. Raises PredictionInvalid."""
        rows, novel = np.clip(self._checked(outputs, count), 0.0, 1.0), self._novel(outputs, count)
        return [
            self._result(row, novel=each) for row, each in zip(rows.tolist(), novel.tolist(), strict=True)
        ]

    def result_columns(self, outputs: Mapping[str, Array], count: int) -> tuple[ResultColumn, ...]:
        """The same as columns: what `results` nests is flat here, `probability_<label>` and `code_system`.

        Codes and flags are int32 and bool [count], probabilities float64 [count]. Raises PredictionInvalid.
        """
        from models.pipelines.columns import CategoryColumn, ValueColumn

        rows = self._checked(outputs, count)
        if count and (rows.min() < 0 or rows.max() > 1):
            rows = np.clip(rows, 0.0, 1.0)
        chosen, reported = self._choices(rows)
        band, threshold, novel = (
            self._parameters.abstain,
            self._parameters.threshold,
            self._novel(outputs, count),
        )
        unclear = np.zeros(count, dtype=np.bool_)
        if band is not None:
            unclear = (band.lower <= reported) & (reported < band.upper)
        abstained = unclear | novel
        codes = np.where(abstained, -1, chosen).astype(np.int32)
        reasons = np.select([novel, unclear], [1, 0], -1).astype(np.int32)
        return (
            *(CategoryColumn(name, codes, words) for name, words in self._words.items()),
            *(ValueColumn(f"probability_{name}", rows[:, column]) for column, name in enumerate(self._ids)),
            ValueColumn("threshold", None if threshold is None else np.full(count, threshold.value)),
            ValueColumn("abstained", abstained),
            CategoryColumn("abstain_reason", reasons, self._reasons),
        )

    def _choices(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """For `rows` [N,C]: the index of the answered label [N], and the probability that decides on abstaining [N]."""
        if self._positive is None:
            return rows.argmax(axis=1), rows.max(axis=1)
        assert self._parameters.threshold is not None, "two labels have a threshold"
        reported = rows[:, self._positive]
        reached = reported >= self._parameters.threshold.value
        return np.where(reached, self._positive, 1 - self._positive), reported

    def _checked(self, outputs: Mapping[str, Array], count: int) -> NDArray[np.float64]:
        """Probabilities [count,C], one column per label. Raises PredictionInvalid."""
        output = self.outputs[0]
        raw = np.asarray(outputs[output.name], dtype=np.float64)
        if raw.shape != (count, *output.shape):
            raise PredictionInvalid(tuple(range(count)), f"{output.name} has the shape {raw.shape}")
        if self._parameters.scores in {"logit", "logits"}:
            raw = _probabilities(raw)
        _check_range(raw)
        if raw.shape[1] == 1:
            return self._spread(raw)
        _refuse(
            np.abs(raw.sum(axis=1) - 1) > _SUM_ROUNDING,
            "the probabilities do not sum to 1; if they are logits, say so with `output`",
        )
        return raw

    def _novel(self, outputs: Mapping[str, Array], count: int) -> NDArray[np.bool_]:
        """Which rows [count] are unlike the training data. Raises PredictionInvalid."""
        if (novelty := self._parameters.novelty) is None:
            return np.zeros(count, dtype=np.bool_)
        raw = np.asarray(outputs[NOVELTY], dtype=np.float64)
        if raw.shape != (count, 1):
            raise PredictionInvalid(tuple(range(count)), f"{NOVELTY} has the shape {raw.shape}")
        _refuse(~np.isfinite(raw[:, 0]), "the novelty is not a finite number")
        return np.asarray(raw[:, 0] >= novelty.limit)

    def _spread(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """The positive label's probability [N,1] as one column per label, [N,2]."""
        columns = [1.0 - raw, raw] if self._positive == 1 else [raw, 1.0 - raw]
        return np.concatenate(columns, axis=1)

    def _result(self, probabilities: list[float], *, novel: bool) -> dict[str, object]:
        chosen = self._choose(probabilities)
        reported = probabilities[chosen if self._positive is None else self._positive]
        reason = self._reasons[1] if novel else self._abstain_reason(reported)
        label = None if reason is not None else self._labels[chosen]
        threshold = self._parameters.threshold
        return {
            "type": "classification",
            "label": label and label.id,
            "display": label and label.display,
            "code": label and label.code and {"system": label.system, "code": label.code},
            "probabilities": dict(zip(self._ids, probabilities, strict=True)),
            "threshold": threshold and threshold.value,
            "abstained": reason is not None,
            "abstain_reason": reason,
        }

    def _choose(self, probabilities: list[float]) -> int:
        """The index of the answered label: by threshold for two labels, otherwise the most probable."""
        if self._positive is None:
            return probabilities.index(max(probabilities))
        assert self._parameters.threshold is not None, "two labels have a threshold"
        reached = probabilities[self._positive] >= self._parameters.threshold.value
        return self._positive if reached else 1 - self._positive

    def _abstain_reason(self, reported: float) -> str | None:
        band = self._parameters.abstain
        return band.reason if band is not None and band.lower <= reported < band.upper else None

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""
        nullable_ids: list[str | None] = [*self._ids, None]
        coding = {"system": {"type": "string"}, "code": {"type": "string", COLUMN: "code"}}
        code = {"type": "object", "properties": coding, "required": list(coding)}
        properties: dict[str, Any] = {
            "type": {"const": "classification"},
            "label": {"enum": nullable_ids, "description": "null when the model abstained"},
            "display": {"type": ["string", "null"]},
            "code": {"anyOf": [code, {"type": "null"}]},
            "probabilities": {
                "type": "object",
                "properties": {name: {"type": "number", "minimum": 0, "maximum": 1} for name in self._ids},
                "required": list(self._ids),
                "additionalProperties": False,
                COLUMN: "probability",
            },
            "threshold": {"type": ["number", "null"], "description": "of the positive label's probability"},
            "abstained": {"type": "boolean"},
            "abstain_reason": {"type": ["string", "null"]},
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Classification",
            "type": "object",
            "properties": properties,
            "required": list(properties),
        }


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities from logits: [N,1] by the logistic function, [N,C] by softmax over the row. Infinities become NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        if logits.shape[1] == 1:
            return np.where(np.isfinite(logits), 1 / (1 + np.exp(-logits)), np.nan)
        scaled = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        shares = scaled / scaled.sum(axis=1, keepdims=True)
    return np.where(np.isfinite(logits).all(axis=1, keepdims=True), shares, np.nan)


def _check_range(rows: NDArray[np.float64]) -> None:
    """Refuse `rows` [N,C] that are not finite or not in [0, 1]."""
    lowest, highest = -_ROUNDING, 1 + _ROUNDING
    if not len(rows) or not (lowest <= rows.min() and rows.max() <= highest):  # NaN is neither
        _refuse(~np.isfinite(rows).all(axis=1), "the probability is not a finite number")
        inside = ((rows >= lowest) & (rows <= highest)).all(axis=1)
        reason = (
            "a probability is not between 0 and 1; if it is a logit, say so with `output`; for a regression use the pipeline "
            "`tabular-regression`"
        )
        _refuse(~inside, reason)


def _refuse(wrong: Any, reason: str) -> None:
    if wrong.any():
        raise PredictionInvalid(tuple(np.flatnonzero(wrong).tolist()), reason)
