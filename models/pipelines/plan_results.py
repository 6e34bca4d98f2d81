"""What a treatment plan answers: plain typed values. Its sections are the results of recommenders and of advice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.pipelines.advice_results import AdviceResult
from models.pipelines.recommendation_types import Part, RecommendationResult, Unchecked
from models.pipelines.typed import TypedResult
from models.pipelines.typed_classification import Coding


class DiagnosisRead(TypedResult):
    """The answer of a diagnosis job, and what the plan made of it. Job and model are null for what no job answered."""

    part: Annotated[str, Field(description="the field of the input that names the job")]
    job: str | None
    model: str | None
    model_version: str | None
    model_digest: str | None
    label: str
    display: str | None
    probability: Annotated[Part | None, Field(description="of the label, as the model answered it")]
    code: Annotated[
        Coding | None, Field(description="of the label, as the manifest of the model declares it")
    ]
    used_by: Annotated[list[str], Field(description="the sections that know the code as a condition")]
    unrecognised: Annotated[
        str | None, Field(description="why the plan takes no condition from the answer; null if it does")
    ]


class MadeOf(TypedResult):
    """The published bundle that a section is a copy of. The plan's own version and digest pin all sections."""

    section: str
    model: str
    version: str
    digest: str


class TreatmentPlanResult(TypedResult):
    """A plan. Its sections are null when it abstained, and where the model has no such section."""

    type: Literal["treatment_plan"] = "treatment_plan"
    diagnoses: list[DiagnosisRead]
    unchecked: Annotated[
        list[Unchecked],
        Field(description="of `diagnoses`: other answers of one model, of which some cannot hold"),
    ] = Field(default_factory=list)
    interventions: Annotated[RecommendationResult | None, Field(description="what is done and gives no drug")]
    drugs: Annotated[RecommendationResult | None, Field(description="reviewed by the drug safety rule")]
    services: Annotated[RecommendationResult | None, Field(description="whom to consult")]
    advice: AdviceResult | None
    made_of: list[MadeOf]
    abstained: bool
    abstain_reason: str | None
