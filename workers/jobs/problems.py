"""Why a worker cannot score a case, which ends its job, or the jobs of a model, which wait."""

from models.pipelines import PredictionInvalid
from service.catalog import PublishedModel
from service.errors import ServiceError
from service.faults import Fault, Requirement
from service.jobs.execution import Problem
from service.problem_codes import JobProblem
from workers.runtime import OutOfMemory, RunFailed, RunTimedOut

UNREADABLE = Problem(JobProblem.INPUT_UNREADABLE, "The stored input cannot be read. Submit the case again.")
MODEL_FAILED = Problem(
    JobProblem.MODEL_FAILED,
    "The model fails on this input. Check the input; if it is right, tell the model's publisher.",
)
TIMED_OUT = Problem(
    JobProblem.RUN_TIMED_OUT, "The model took longer for this input than its manifest allows."
)
NO_MEMORY = Problem(JobProblem.OUT_OF_MEMORY, "The model runs out of memory on this input alone.")
BAD_PREDICTION = Problem(
    JobProblem.PREDICTION_INVALID, "The model's output is not a valid prediction, such as NaN."
)
# The problem of a case that fails alone, by fault.
ALONE_AT_FAULT: dict[type[Exception], Problem] = {
    OutOfMemory: NO_MEMORY,
    PredictionInvalid: BAD_PREDICTION,
    RunFailed: MODEL_FAILED,
    RunTimedOut: TIMED_OUT,
}


def model_fault(model: PublishedModel, error: Exception) -> Fault:
    """Why the jobs of a model wait on this worker."""
    words = error.detail.rstrip(".") if isinstance(error, ServiceError) else type(error).__name__
    advice = "Repair the blob store, or publish the bundle again; until then its jobs wait."
    cause = f"{model.name} {model.version} does not load: {words}"
    return Fault(Requirement.MODELS, "MEDQUEUE_BLOB_URL", cause, advice)
