"""Why a worker cannot score a case, which ends its job, or the jobs of a model, which wait."""

import structlog

from models.longest_texts import TriesLongest
from models.pipelines import Pipeline, PredictionInvalid, Run
from service.catalog import PublishedModel
from service.errors import ServiceError
from service.faults import Fault, Requirement
from service.jobs.execution import Problem
from service.problem_codes import JobProblem
from workers.runtime import OutOfMemory, RunFailed, RunTimedOut

log = structlog.get_logger()

UNREADABLE = Problem(JobProblem.INPUT_UNREADABLE, "The stored input cannot be read. Submit the case again.")
MODEL_FAILED = Problem(
    JobProblem.MODEL_FAILED,
    "The model fails on this input. Check the input; if it is right, tell the model's publisher.",
)
TOO_LONG = Problem(
    JobProblem.MODEL_FAILED,
    "The model fails on texts, or answers, as long as its manifest allows. Send a shorter text, or a lower max_new_tokens; its "
    "publisher should publish a version with a lower max_tokens.",
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


def alone_at_fault(fault: Exception, pipeline: Pipeline, run: Run) -> Problem:
    """The problem of a case that fails alone. `run` runs the model's graphs.

    Bundles that were published before the longest text was tried may allow more tokens than their graph has places for.
    Whether that is so is found out when a case fails, with a text of no patient's.
    """
    if isinstance(fault, RunFailed) and isinstance(pipeline, TriesLongest):
        try:
            pipeline.try_longest(run)
        except RunFailed:
            log.error("longest_text_failed", advice="publish a version with a lower max_tokens")
            return TOO_LONG
        except Exception as other:  # noqa: BLE001 - the case has a problem, whatever becomes of the trial
            log.warning("longest_text_not_tried", reason=type(other).__name__)
    return ALONE_AT_FAULT[type(fault)]


def model_fault(model: PublishedModel, error: Exception) -> Fault:
    """Why the jobs of a model wait on this worker."""
    words = error.detail.rstrip(".") if isinstance(error, ServiceError) else type(error).__name__
    advice = "Repair the blob store, or publish the bundle again; until then its jobs wait."
    cause = f"{model.name} {model.version} does not load: {words}"
    return Fault(Requirement.MODELS, "MEDQUEUE_BLOB_URL", cause, advice)
