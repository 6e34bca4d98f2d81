"""What a pipeline may return, whoever wrote it: anything else counts as the model's failure on these cases."""

import traceback
from collections.abc import Sequence

import structlog

from models.pipelines import Answer, PredictionInvalid, RowFault
from models.pipelines.artifacts import answer_fault
from workers.runtime import RunFailed

_OURS = ("models.", "workers.")

log = structlog.get_logger()


def check_answers(answers: Sequence[Answer], count: int) -> None:
    """Raises RunFailed unless there are `count` answers, each an object, with artifacts that can be stored."""
    if len(answers) != count:
        raise RunFailed(f"{len(answers)} answers for {count} cases")
    for answer in answers:
        fault = answer_fault(answer)
        if fault is not None:
            raise RunFailed(fault)


def check_row(fault: RowFault, count: int) -> None:
    """Raises RunFailed if a fault names none of `count` cases."""
    if not (isinstance(fault.index, int) and 0 <= fault.index < count):
        raise RunFailed("a fault of a row names none of the cases") from fault


def log_cause(fault: BaseException, cases: int = 1, **about: object) -> None:
    """Say in the log why `cases` failed, where nothing but their problem would be said. `about` names model and jobs."""
    if isinstance(fault, RunFailed | PredictionInvalid):
        words = fault.reason if isinstance(fault, PredictionInvalid) else str(fault)
        told = {"reason": words} if _is_ours(fault) else {}
        log.error("pipeline_failed", **about, cases=cases, **told, exc_info=fault)


def _is_ours(fault: BaseException) -> bool:
    """Whether our code raised it: the words of a package's code may quote an input."""
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__", "")).startswith(_OURS)
