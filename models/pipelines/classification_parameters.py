"""The share of a manifest's parameters that all pipelines have which answer one of a few classes.

What the graph gives is named by the parameter `output`: `probability` [N,1] of the positive label (what two labels have
by default), `probabilities` [N,C] in the order of the labels (what more have), or `logit` [N,1] and `logits` [N,C], which
become those by the logistic function and softmax. A model that tells foreign inputs apart gives `novelty` [N,1], too.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.manifest import ManifestTable, Text
from models.manifest_words import LABEL_ID, SYSTEM_URI

Share = Annotated[float, Field(ge=0, le=1)]


class LabelParameters(ManifestTable):
    """One class: its id in results, its words, and its code in a code system, if there is one. Only the id is required."""

    id: Annotated[str, Field(pattern=LABEL_ID, max_length=64)]
    display: Text
    system: Annotated[str | None, Field(pattern=SYSTEM_URI, description="URI of the code system")] = None
    code: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_id(cls, table: object) -> object:
        return {"id": table, "display": table} if isinstance(table, str) else table

    @model_validator(mode="after")
    def _check_code(self) -> Self:
        if (self.system is None) != (self.code is None):
            raise ValueError("give system and code together, or neither")
        return self


class Threshold(ManifestTable):
    """From which probability on the positive label is answered, and what that cost on which rows."""

    value: Share
    sensitivity: Share
    specificity: Share
    ppv: Share
    prevalence: Share
    source: Text


class AbstainBand(ManifestTable):
    """Where the model abstains: `lower` <= probability < `upper`.

    The probability is the positive label's where there is one, else the most probable label's.
    """

    lower: Share
    upper: Share
    reason: Text

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.lower >= self.upper:
            raise ValueError("lower must be less than upper")
        return self


class Novelty(ManifestTable):
    """From which `novelty` on, an output of the graph, the model abstains: the input is unlike what it was trained on.

    What the detector costs and what it catches: the share of inputs of the intended kind, kept apart from training, that
    it takes for foreign, and the share of `foreign_set` that it finds.
    """

    limit: Annotated[float, Field(allow_inf_nan=False)]
    false_alarm_rate: Share
    catch_rate: Share
    foreign_set: Text
    source: Text
    reason: Text = "unlike the data that the model was trained on"


class ClassificationParameters(ManifestTable):
    """The parameters that every kind of classification has."""

    labels: Annotated[tuple[LabelParameters, ...], Field(min_length=2, max_length=1000, strict=False)]
    output: Literal["probability", "probabilities", "logit", "logits"] | None = None
    positive: str | None = None
    threshold: Threshold | None = None
    abstain: AbstainBand | None = None
    novelty: Novelty | None = None

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        ids = [label.id for label in self.labels]
        if len(set(ids)) < len(ids):
            raise ValueError("labels: give each label its own id")
        if len(ids) > 2 and (self.positive is not None or self.threshold is not None):
            raise ValueError("positive and threshold are for two labels: remove them")
        if (self.positive is None) != (self.threshold is None) or self.positive not in {None, *ids}:
            raise ValueError(
                "give `positive` (the id of one of two labels) and a threshold table, or neither"
            )
        if self.positive is None and self.output in {"probability", "logit"}:
            raise ValueError("output: one number a row is that of `positive`: name probabilities or logits")
        return self

    @property
    def scores(self) -> str:
        """What the graph gives: `output`, or its default."""
        return self.output or ("probability" if self.positive is not None else "probabilities")
