"""What a `molecule-property` manifest declares: its features, its applicability domain, and its tasks with their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from models.manifest import ManifestTable, Text
from models.pipelines.classification_parameters import AbstainBand, Share, Threshold
from models.pipelines.molecule_alerts import StructuralAlert
from models.pipelines.molecules import MACCS, Limits
from models.pipelines.tabular_regression import Interval, ResultInterval
from models.pipelines.typed import TypedResult

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class RegressionAnswer(TypedResult):
    """A number with its interval, both null where the model abstained."""

    value: float | None
    unit: str
    interval: ResultInterval | None
    similarity: Annotated[
        float, Field(ge=0, le=1, description="to the nearest molecule of the training data")
    ]
    abstained: bool
    abstain_reason: str | None


class ClassificationAnswer(TypedResult):
    """Whether the molecule is of the positive class: null where the model abstained."""

    positive: bool | None
    label: str | None
    probability: Share | None = Field(
        description="of the positive class; null for molecules that are not scored"
    )
    threshold: Share
    similarity: Annotated[
        float, Field(ge=0, le=1, description="to the nearest molecule of the training data")
    ]
    abstained: bool
    abstain_reason: str | None


class _TaskTable(ManifestTable):
    """What every task has. `domain` names the task's training molecules in the side file."""

    id: Id
    title: Text
    domain: Id
    least_similarity: Share = Field(
        description="Tanimoto coefficient to the nearest of them, below which it abstains"
    )
    heaviest: float | None = Field(None, gt=0, description="mass in g/mol above which it abstains")
    fewest_atoms: int = Field(1, ge=1, description="heavy atoms below which it abstains")
    fewest_heteroatoms: int = Field(
        0, ge=0, description="atoms other than carbon, hydrogen and halogens below which it abstains"
    )
    most_rotatable_bonds: int | None = Field(
        None,
        ge=0,
        description="rotatable bonds above which it abstains: a fingerprint does not see how long a chain is",
    )
    alerts: bool = Field(False, description="whether it abstains from molecules with one of the alerts")


class Regression(_TaskTable):
    """A task with a number for an answer."""

    result: ClassVar[type[TypedResult]] = RegressionAnswer
    kind: Literal["regression"]
    unit: Text
    interval: Interval

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.interval.half_width is None:
            raise ValueError("interval: give its half_width, in the unit of the task")
        return self

    def answer(self, value: float | None, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The result of one molecule. `shared` is what every task answers."""
        found, half = None if shared["abstained"] else value, self.interval.half_width
        around = None
        if found is not None and half is not None:
            around = {"lower": found - half, "upper": found + half, "coverage": self.interval.coverage}
        return {"value": found, "unit": self.unit, "interval": around, **shared}


class Classification(_TaskTable):
    """A task with two classes."""

    result: ClassVar[type[TypedResult]] = ClassificationAnswer
    kind: Literal["classification"]
    positive: Text
    negative: Text
    threshold: Threshold
    abstain: AbstainBand | None = None

    def answer(self, value: float | None, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The result of one molecule. `shared` is what every task answers."""
        found, band = dict(shared), self.abstain
        if (
            value is not None
            and band is not None
            and not found["abstained"]
            and band.lower <= value < band.upper
        ):
            found |= {"abstained": True, "abstain_reason": band.reason}
        answered = value is not None and not found["abstained"]
        positive = value >= self.threshold.value if answered and value is not None else None
        label = None if positive is None else self.positive if positive else self.negative
        own = {"positive": positive, "label": label, "probability": value, "threshold": self.threshold.value}
        return own | found


Task = Annotated[Regression | Classification, Field(discriminator="kind")]


class MoleculeFeatures(ManifestTable):
    """What the graph takes: see molecules.Features."""

    radius: int = Field(2, ge=0, le=4)
    bits: int = Field(2048, ge=8, le=16384)
    keys: bool = Field(False, description="whether the 167 MACCS keys follow")
    descriptors: Annotated[tuple[Text, ...], Field(max_length=300, strict=False)] = ()
    charges: bool = Field(False, description="whether the numbers of charged atoms follow, as written")

    @property
    def width(self) -> int:
        """Numbers a molecule."""
        return self.bits + MACCS * self.keys + len(self.descriptors) + 2 * self.charges


class MoleculeDomain(ManifestTable):
    """The applicability domain: a file of numpy with fingerprints by name of the set, and how it was measured.

    `false_alarm_rate` is the share of answers to molecules of the intended kind, kept apart from training, that are withheld;
    `catch_rate` the share of `foreign_set` from which every task abstains.
    """

    file: str = "known.npz"
    bits: int = Field(1024, ge=8, le=16384, multiple_of=8)
    false_alarm_rate: Share
    catch_rate: Share
    foreign_set: Text
    source: Text


class MoleculeParameters(ManifestTable):
    """The `[parameters]` table of a manifest of molecules."""

    longest: int = Field(1000, ge=1, le=2000, description="most characters of a SMILES")
    atoms: int = Field(200, ge=1, le=400, description="most heavy atoms of all components together")
    rings: int = Field(40, ge=0, le=60, description="most rings")
    example: str = "CC(=O)Oc1ccccc1C(=O)O"
    features: MoleculeFeatures
    domain: MoleculeDomain
    alerts: Annotated[tuple[StructuralAlert, ...], Field(max_length=200, strict=False)] = ()
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=200, strict=False)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({task.id for task in self.tasks}) < len(self.tasks):
            raise ValueError("tasks: give each task its own id")
        if any(task.alerts for task in self.tasks) != bool(self.alerts):
            raise ValueError("alerts: give alerts and a task with `alerts = true`, or neither")
        return self

    @property
    def limits(self) -> Limits:
        """Of one molecule."""
        return Limits(self.atoms, self.rings)
