"""`molecule-property`: a molecule as SMILES in; measured properties and activities out, several from one graph.

The graph takes `features` float32 [N,F] of the parent of each molecule (see molecules.Features). It gives `values` float32
[N,T], one column a task: a number in the task's unit, or the probability of the task's positive class. A side file with
fingerprints of the molecules that each task was trained with is the applicability domain: the model abstains from molecules
whose nearest neighbour there is not similar enough, from heavier ones, and, if the manifest says so, from small ones, from
those of long chains, from those of hardly anything but carbon and halogens, and from those with a structural alert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, create_model

from models.field_codes import FieldCode
from models.lazy import np
from models.manifest import MODEL, BundleRefused, Fault
from models.pipelines import molecule_alerts, molecules
from models.pipelines.contract import (
    Artifact,
    FieldFault,
    GraphSpec,
    InputRejected,
    PredictionInvalid,
    ReadFile,
    RowFault,
    Run,
    TensorSpec,
)
from models.pipelines.molecule_tasks import Classification, MoleculeParameters, Task
from models.pipelines.typed import TypedCase, TypedInput, TypedOptions, TypedPipeline, TypedResult

if TYPE_CHECKING:
    from models.pipelines.contract import Array

# What SMILES without wildcards, reactions and names is written with (Weininger 1988; opensmiles.org).
CHARACTERS: Final = r"^[A-Za-z0-9@+\-=#$:/\\.()\[\]%]+$"
OUTSIDE: Final = "unlike the molecules that the model was trained on"
FEW_HETEROATOMS: Final = (
    "of carbon, hydrogen and halogens alone, or nearly, unlike most molecules that the model was trained on"
)
LONG_CHAIN: Final = (
    "of more rotatable bonds, such as those of a long chain, "
    "than nearly all molecules that the model was trained on"
)
PICTURE: Final = "molecule.svg"


class MoleculeInput(TypedInput):
    """One molecule. Salts and hydrates may be written with their counter-ions and water."""

    smiles: str


class MoleculeOptions(TypedOptions):
    """What a job may ask for beside its answer."""

    picture: bool = Field(False, title="Picture", description="a drawing of the scored molecule as SVG")


class Molecule(TypedResult):
    """What was scored: the parent of what was sent, see docs/models.md."""

    smiles: str = Field(description="canonical SMILES of RDKit")
    inchikey: str | None = Field(description="null where InChI does not know such molecules")
    formula: str
    weight: float = Field(
        title="Monoisotopic mass",
        description="in u, of the commonest isotopes; not the average molar mass",
        json_schema_extra={"unit": "u"},
    )
    charge: int
    components: int = Field(description="as sent; one of them is scored")


class MoleculeResult(TypedResult):
    """The answer: `abstained` where no task has an answer. The manifest's pipeline gives `tasks` their names."""

    type: Literal["molecule-property"] = "molecule-property"
    molecule: Molecule
    tasks: Any
    abstained: bool
    abstain_reason: str | None


Case = TypedCase[MoleculeInput, MoleculeOptions]


class MoleculeProperty(TypedPipeline[MoleculeParameters, MoleculeInput, MoleculeResult, MoleculeOptions]):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - the fingerprints are read by scoring alone
        """Bound the input's type, and give the result's type the manifest's tasks."""
        given = self.parameters
        field: Any = Field(
            title="SMILES",
            description="One molecule, without a name behind it",
            min_length=1,
            max_length=given.longest,
            pattern=CHARACTERS,
            examples=[given.example],
        )
        self.input_type = create_model(
            "MoleculeInput", __base__=MoleculeInput, smiles=(Annotated[str, field], ...)
        )
        tasks: Any = {
            task.id: (task.result, Field(title=task.title, description=_about(task))) for task in given.tasks
        }
        named = create_model("Tasks", __base__=TypedResult, **tasks)
        self.result_type = create_model("MoleculeResult", __base__=MoleculeResult, tasks=(named, ...))

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        features = TensorSpec("features", "float32", (self.parameters.features.width,))
        return {
            MODEL: GraphSpec((features,), (TensorSpec("values", "float32", (len(self.parameters.tasks),)),))
        }

    def check(self, value: MoleculeInput) -> None:
        """Refuse what is no molecule: brackets that do not match, and the rest where RDKit is installed."""
        if not _is_balanced(value.smiles):
            detail = "The brackets or parentheses do not match: send the whole SMILES."
            raise InputRejected(FieldFault("/smiles", FieldCode.INVALID_SMILES, detail))
        if molecules.installed():
            molecules.read(value.smiles, self.parameters.limits)

    def require_extra(self) -> None:
        """See NeedsExtra: RDKit."""
        molecules.require()

    def open_bundle(self, folder: Path) -> MoleculeScoring:
        """See TypedPipeline. Raises BundleRefused where RDKit is not installed, or the side file does not fit."""
        self.require_extra()
        return MoleculeScoring(self.parameters, self.result_type, _known(self.parameters, folder))


class MoleculeScoring:
    """Scores molecules: one run of the graph for all that can be scored."""

    def __init__(
        self, parameters: MoleculeParameters, result_type: type[MoleculeResult], known: Mapping[str, Array]
    ) -> None:
        self._parameters = parameters
        self._result_type = result_type
        self._known = known
        table = parameters.features
        self._features = molecules.Features(
            table.radius, table.bits, table.descriptors, keys=table.keys, charges=table.charges
        )
        self._alerts = molecule_alerts.Alerts(parameters.alerts)

    def score(
        self, run: Run, cases: Sequence[Case]
    ) -> list[MoleculeResult | tuple[MoleculeResult, Sequence[Artifact]]]:
        """See TypedScoring."""
        parents = [self._parent(row, case.input) for row, case in enumerate(cases)]
        fit = [row for row, parent in enumerate(parents) if parent.unfit is None]
        values: dict[int, list[float]] = {}
        if fit:
            feeds = {"features": np.stack([self._features.of(parents[row]) for row in fit])}
            values = dict(zip(fit, self._checked(run(feeds)["values"], fit), strict=True))
        results = [self._result(parent, values.get(row)) for row, parent in enumerate(parents)]
        return [
            (result, (Artifact(PICTURE, "image/svg+xml", molecules.picture(parent.mol)),))
            if case.options.picture
            else result
            for case, parent, result in zip(cases, parents, results, strict=True)
        ]

    def _parent(self, row: int, value: MoleculeInput) -> molecules.Parent:
        try:
            return molecules.parent_of(molecules.read(value.smiles, self._parameters.limits))
        except InputRejected as rejected:
            raise RowFault(row, rejected.faults[0]) from None

    def _checked(self, values: Array, rows: Sequence[int]) -> list[list[float]]:
        """The graph's output [N,T] as floats. Raises PredictionInvalid."""
        found = np.asarray(values, np.float64)
        if found.shape != (len(rows), len(self._parameters.tasks)):
            raise PredictionInvalid(tuple(rows), f"values has the shape {found.shape}")
        good = np.isfinite(found)
        for place, task in enumerate(self._parameters.tasks):
            if isinstance(task, Classification):
                good[:, place] &= (found[:, place] >= 0) & (found[:, place] <= 1)
        wrong = tuple(rows[place] for place in np.flatnonzero(~good.all(axis=1)).tolist())
        if wrong:
            raise PredictionInvalid(wrong, "a value is not finite, or a probability is not between 0 and 1")
        return list(found.tolist())

    def _result(self, parent: molecules.Parent, values: Sequence[float] | None) -> MoleculeResult:
        nearest = self._nearest(parent)
        answers = {
            task.id: self._answer(
                task, parent, nearest[task.domain], None if values is None else values[place]
            )
            for place, task in enumerate(self._parameters.tasks)
        }
        none = all(each["abstained"] for each in answers.values())
        reasons = dict.fromkeys(each["abstain_reason"] for each in answers.values())
        about = {name: getattr(parent, name) for name in Molecule.model_fields}
        return self._result_type.model_validate(
            {
                "molecule": about,
                "tasks": answers,
                "abstained": none,
                "abstain_reason": "; ".join(map(str, reasons)) if none else None,
            }
        )

    def _nearest(self, parent: molecules.Parent) -> dict[str, float]:
        """The similarity of the nearest molecule in each set of the side file."""
        print_ = molecules.fingerprint(parent.mol, self._parameters.domain.bits)
        return {name: float(molecules.similarity(print_, known).max()) for name, known in self._known.items()}

    def _answer(
        self, task: Task, parent: molecules.Parent, nearest: float, value: float | None
    ) -> dict[str, Any]:
        reason = parent.unfit or self._alert(task, parent) or self._outside(task, parent, nearest)
        shared = {"similarity": nearest, "abstained": reason is not None, "abstain_reason": reason}
        return task.answer(value, shared)

    def _alert(self, task: Task, parent: molecules.Parent) -> str | None:
        return self._alerts.reason(parent.mol) if task.alerts else None

    def _outside(self, task: Task, parent: molecules.Parent, nearest: float) -> str | None:
        """Why a molecule is outside of a task's applicability domain; None inside."""
        heavy = task.heaviest is not None and parent.weight > task.heaviest
        small = parent.mol.GetNumHeavyAtoms() < task.fewest_atoms
        if heavy or small or nearest < task.least_similarity:
            return OUTSIDE
        most = task.most_rotatable_bonds
        if most is not None and molecule_alerts.rotatable_bonds(parent.mol) > most:
            return LONG_CHAIN
        few = molecule_alerts.heteroatoms(parent.mol) < task.fewest_heteroatoms
        return FEW_HETEROATOMS if few else None


def _about(task: Task) -> str | None:
    """Which class a probability is of, for the schema of results."""
    return f"`probability` is that of: {task.positive}" if isinstance(task, Classification) else None


def _known(parameters: MoleculeParameters, folder: Path) -> dict[str, Array]:
    """The sets of fingerprints uint8 [n, bits / 8] that the tasks name. Raises BundleRefused."""
    file, width = parameters.domain.file, parameters.domain.bits // 8
    with np.load(folder / file, allow_pickle=False) as sets:
        found = {
            name: sets[name]
            for name in dict.fromkeys(task.domain for task in parameters.tasks)
            if name in sets
        }
    for name in dict.fromkeys(task.domain for task in parameters.tasks):
        known = found.get(name)
        if (
            known is None
            or known.dtype != np.uint8
            or known.ndim != 2
            or known.shape[1] != width
            or not len(known)
        ):
            reason = f"it needs an array {name!r} of fingerprints, uint8 [molecules, {width}]: write it again"
            raise BundleRefused(Fault(file, "side_file_unusable", reason))
    return found


def _is_balanced(smiles: str) -> bool:
    """Whether each bracket and parenthesis is closed. Brackets are not nested."""
    depth, inside = 0, False
    for letter in smiles:
        if letter in "[]":
            if inside is (letter == "["):
                return False
            inside = letter == "["
        elif letter in "()":
            depth += 1 if letter == "(" else -1
            if depth < 0 or inside:
                return False
    return not inside and depth == 0


load = MoleculeProperty.load
