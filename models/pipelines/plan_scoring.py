"""The scoring half of a treatment plan: reads the diagnosis jobs, then has each section answer with their conditions added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

from models.pipelines.advice import Adviser
from models.pipelines.advice_catalogue import Language
from models.pipelines.contract import PredictionInvalid, Run
from models.pipelines.parts import Source
from models.pipelines.plan_advice import Medicines, for_advice, person_of
from models.pipelines.plan_diagnoses import Answered, disagreements, read_answers, uncompared
from models.pipelines.plan_parameters import ADVICE, DRUGS
from models.pipelines.plan_results import DiagnosisRead, MadeOf, TreatmentPlanResult
from models.pipelines.plan_unread import unnamed, unread
from models.pipelines.recommendation import Recommendation
from models.pipelines.recommendation_scoring import HISTORY, PRESENT, Recommender
from models.pipelines.recommendation_types import RecommendationOptions, RecommendationResult, Unknown
from models.pipelines.typed import TypedCase

if TYPE_CHECKING:
    from models.pipelines.advice_results import AdviceResult
    from models.pipelines.treatment_plan import PlanOptions, TreatmentPlan

NO_CONDITION: Final = (
    "no diagnosis job answered a condition that the plan knows, and none was sent: see `diagnoses`"
)


@dataclass(frozen=True)
class _Patient:
    """One case: the fields of its input by name, and the answers of its diagnosis jobs."""

    facts: Mapping[str, Any]
    options: PlanOptions
    answers: Sequence[tuple[str, Answered, Source | None]]
    own: Sequence[str]  # codes that the caller sent
    systems: tuple[str, ...]

    @cached_property
    def codes(self) -> list[str]:
        """All conditions, each once."""
        found = [each.condition(self.systems) for _, each, _ in self.answers]
        return list(dict.fromkeys([*self.own, *(code for code in found if code is not None)]))


class AdviceSource:
    """What answers the section of advice."""

    def __init__(self, adviser: Adviser, medicines: Medicines) -> None:
        self.adviser = adviser
        self.medicines = medicines


class Planner:
    """Scores plans. Sections are recommenders, each with its graph, and advice without one."""

    def __init__(
        self, plan: TreatmentPlan, sections: Mapping[str, Recommender], advice: AdviceSource | None
    ) -> None:
        self._plan = plan
        self._sections = sections
        self._advice = advice
        self._made_of = [
            MadeOf(section=name, model=each.model, version=each.version, digest=each.digest)
            for name, each in plan.parameters.origins()
        ]

    def score(self, run: Run, cases: Sequence[TypedCase[Any, PlanOptions]]) -> list[TreatmentPlanResult]:
        """See TypedScoring. Raises RowFault for a diagnosis without an answer."""
        patients = [self._patient(index, case) for index, case in enumerate(cases)]
        going = [row for row, each in enumerate(patients) if any(map(self._knowing, each.codes))]
        ranked = {name: self._ranked(run, name, patients, going) for name in self._sections}
        return [
            self._result(
                patient, {name: found[row] for name, found in ranked.items()} if row in going else None
            )
            for row, patient in enumerate(patients)
        ]

    def _patient(self, index: int, case: TypedCase[Any, PlanOptions]) -> _Patient:
        given = self._plan.parameters
        return _Patient(
            facts={name: getattr(case.input, name) for name in type(case.input).model_fields},
            options=case.options,
            answers=read_answers(index, case.parts, case.sources),
            own=getattr(case.input, given.diagnoses) or (),
            systems=given.systems,
        )

    def _knowing(self, code: str) -> list[str]:
        """The sections that know a condition."""
        knowing = list(self._sections) if not self._plan.diagnoses.unknown([code]) else []
        if self._advice is not None:
            of_icd_10, _ = for_advice([code])
            knowing += [ADVICE] if any(map(self._plan.conditions_of, of_icd_10)) else []
        return knowing

    def _ranked(
        self, run: Run, name: str, patients: Sequence[_Patient], rows: Sequence[int]
    ) -> dict[int, RecommendationResult]:
        """The answers of one section, by row."""
        cases = [self._case(name, patients[row]) for row in rows]
        if not cases:
            return {}
        try:
            found = self._sections[name].score(partial(run, graph=name), cases)
        except PredictionInvalid as error:
            raise PredictionInvalid(
                tuple(rows[row] for row in error.rows), f"{name}: {error.reason}"
            ) from None
        return dict(zip(rows, found, strict=True))

    def _case(self, name: str, patient: _Patient) -> TypedCase[Any, RecommendationOptions]:
        """The input of one section, as a recommender of its own takes it."""
        section: Recommendation = self._plan.sections[name]
        facts = patient.facts
        given = {key: value for key, value in facts.items() if key in section.input_type.model_fields}
        given |= {
            self._plan.parameters.diagnoses: patient.codes,
            HISTORY: facts[name],
            PRESENT: facts[self._plan.present] if name == DRUGS else None,
        }
        options = RecommendationOptions(top=patient.options.top, reasons=patient.options.reasons)
        return TypedCase(section.input_type.model_construct(**given), options, {})

    def _result(
        self, patient: _Patient, ranked: Mapping[str, RecommendationResult] | None
    ) -> TreatmentPlanResult:
        found = ranked or {}
        return TreatmentPlanResult(
            diagnoses=[self._read(patient, *each) for each in patient.answers],
            unchecked=[
                *disagreements(patient.answers, patient.systems),
                *uncompared(patient.answers, patient.own, patient.systems),
            ],
            interventions=found.get("interventions"),
            drugs=self._reviewed(patient, found.get("drugs")),
            services=found.get("services"),
            advice=None if ranked is None else self._advised(patient, patient.options.language),
            made_of=self._made_of,
            abstained=ranked is None,
            abstain_reason=NO_CONDITION if ranked is None else None,
        )

    def _reviewed(self, patient: _Patient, drugs: RecommendationResult | None) -> RecommendationResult | None:
        """The section of drugs, with what of the input its rule did not read: first the drugs that the caller did not name."""
        if drugs is None:
            return None
        rule = self._plan.sections[DRUGS].parameters.rule
        read = rule.fields() if rule else ()
        first = unnamed(patient.facts, set(self._medicines(patient)))
        every = [*first, *drugs.unchecked, *unread(patient.facts, read)]
        return drugs.model_copy(update={"unchecked": every})

    def _medicines(self, patient: _Patient) -> Iterator[str]:
        """The groups of medicines that the present drugs are of."""
        had = patient.facts[self._plan.present]
        if self._advice is not None:
            yield from self._advice.medicines.of(patient.facts[DRUGS] if had is None else had)

    def _read(self, patient: _Patient, part: str, answered: Answered, source: Source | None) -> DiagnosisRead:
        condition = answered.condition(patient.systems)
        used_by = [] if condition is None else self._knowing(condition)
        return DiagnosisRead(
            part=part,
            job=source.job if source else None,
            model=source.model if source else None,
            model_version=source.version if source else None,
            model_digest=source.digest if source else None,
            label=answered.label,
            display=answered.display,
            probability=answered.probabilities.get(answered.label),
            code=answered.code,
            used_by=used_by,
            unrecognised=answered.reason(patient.systems, known=bool(used_by)),
        )

    def _advised(self, patient: _Patient, language: Language) -> AdviceResult | None:
        if self._advice is None:
            return None
        conditions, others = for_advice(patient.codes)
        person = person_of(patient.facts, conditions, self._medicines(patient))
        advised = self._advice.adviser.advise(person, language)
        told = [Unknown(field=self._plan.parameters.diagnoses, code=code) for code in others]
        return advised.model_copy(update={"unknown": [*advised.unknown, *told]})
