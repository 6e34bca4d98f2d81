"""The answers of diagnosis jobs as a treatment plan reads them: a label with the code that its model's manifest declares.

A label becomes a condition by its code alone, and only if the plan's manifest lists the code's system: nothing is guessed from
the name of a label. Every label that becomes none says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.drug_safety.codes import with_system
from models.field_codes import FieldCode
from models.pipelines.contract import FieldFault, RowFault, pointer_to
from models.pipelines.parts import Source
from models.pipelines.recommendation_types import Part, Unchecked
from models.pipelines.typed import TypedInput
from models.pipelines.typed_classification import Coding
from models.pipelines.typed_parts import OptionalResultPart, ResultOf, ResultPart

NO_CODE: Final = "the manifest of its model declares no code for this label"
OTHER_SYSTEM: Final = "the plan takes no conditions from codes of {system}"
UNKNOWN_CODE: Final = (
    "no section ranks or advises by this code; the rule that reviews drugs counts it if its tables have it"
)
NOT_COMPARED: Final = "not-compared"
COMPARE: Final = (
    "the answer {label} of {model} is no condition of the plan, so it was not compared with the diagnoses that were sent, and "
    "these counted: if one of them contradicts it, send the plan again without that one"
)
DRAWN: Final = "the picture is marked as made up by a model or a program: it shows no patient"
CONTRADICTED: Final = "contradicted"
DISAGREE: Final = (
    "jobs of {model} answer otherwise ({says}), and each condition among them counted: if they exclude each other, send the "
    "plan again with the one that holds; one that is only to be waited for goes into `after`"
)
UNUSABLE: Final = "The result that is named here holds no answer of a classifier: name another job."

_Diagnosis = ResultOf("classification")


class Diagnosed(TypedInput):
    """The diagnosis jobs of an input. Each is waited for; one that fails, is canceled or abstains ends the plan."""

    diagnosis: Annotated[ResultPart, _Diagnosis, Field(title="Diagnosis job")]
    diagnosis_2: Annotated[OptionalResultPart, _Diagnosis, Field(title="Second diagnosis job")]
    diagnosis_3: Annotated[OptionalResultPart, _Diagnosis, Field(title="Third diagnosis job")]
    diagnosis_4: Annotated[OptionalResultPart, _Diagnosis, Field(title="Fourth diagnosis job")]


PARTS: Final = tuple(Diagnosed.model_fields)


class Answered(BaseModel):
    """What is read of a classifier's result: a label; the rest is for those who read that job."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    label: str
    display: str | None = None
    code: Coding | None = None
    probabilities: Mapping[str, Part] = Field(default_factory=dict)
    synthetic: bool = False

    def condition(self, systems: tuple[str, ...]) -> str | None:
        """The code, if it is of one of these systems; behind its system if it would be read as another's without it."""
        if self.code is None or self.code.system not in systems or self.synthetic:
            return None
        return with_system(self.code.system, self.code.code)

    def reason(self, systems: tuple[str, ...], *, known: bool) -> str | None:
        """Why the label is no condition of the plan; None if it is one. `known`: some section knows the code."""
        if self.synthetic:
            return DRAWN
        if self.code is None:
            return NO_CODE
        if self.code.system not in systems:
            return OTHER_SYSTEM.format(system=self.code.system)
        return None if known else UNKNOWN_CODE


def disagreements(
    answers: Sequence[tuple[str, Answered, Source | None]], systems: tuple[str, ...]
) -> Iterator[Unchecked]:
    """Other labels of one model, where some label is a condition: of those that exclude each other the condition counts."""
    by_model: dict[str, dict[str, str]] = {}
    counted: set[str] = set()
    for part, answered, source in answers:
        if source is not None:
            by_model.setdefault(source.model, {})[part] = answered.label
            counted |= {source.model} if answered.condition(systems) is not None else set()
    for model, labels in by_model.items():
        if len(set(labels.values())) > 1 and model in counted:
            says = ", ".join(f"{part} {label}" for part, label in labels.items())
            yield Unchecked(
                subject=", ".join(labels),
                check=None,
                reason=CONTRADICTED,
                detail=DISAGREE.format(model=model, says=says),
            )


def uncompared(
    answers: Sequence[tuple[str, Answered, Source | None]], own: Sequence[str], systems: tuple[str, ...]
) -> Iterator[Unchecked]:
    """Answers that are no condition, such as `no_disease`, beside diagnoses of the caller: these may say the contrary."""
    for part, answered, source in answers:
        if own and answered.condition(systems) is None:
            model = source.model if source else "the job"
            detail = COMPARE.format(label=answered.label, model=model)
            yield Unchecked(subject=part, check=None, reason=NOT_COMPARED, detail=detail)


def read_answers(
    index: int, parts: Mapping[str, bytes], sources: Mapping[str, Source]
) -> list[tuple[str, Answered, Source | None]]:
    """The answers of a case's diagnosis jobs, in the order of PARTS. Raises RowFault for one without a label."""
    found = []
    for name in PARTS:
        if name in parts:
            try:
                answered = Answered.model_validate_json(parts[name])
            except ValidationError:
                raise RowFault(
                    index, FieldFault(pointer_to(name), FieldCode.RESULT_UNFIT, UNUSABLE)
                ) from None
            found.append((name, answered, sources.get(name)))
    return found
