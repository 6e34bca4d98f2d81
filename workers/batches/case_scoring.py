"""Scores rows of a batch in the way of jobs: by the pipeline's `score`, in micro-batches that are halved if they fail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from models.field_codes import FieldCode, OtherCode
from models.pipelines import Answer, Case, FieldFault, PredictionInvalid, RowFault, Run, Scoring
from workers.batches.lease_keeper import LeaseLost, Stopping
from workers.jobs.answers import check_answers, check_row, log_cause
from workers.jobs.problems import ALONE_AT_FAULT, UNREADABLE
from workers.runtime import OutOfMemory, RunFailed, RunTimedOut

ARTIFACTS_NOT_KEPT = FieldFault(
    "",
    FieldCode.ARTIFACTS_NOT_KEPT,
    "The answer contains files, which a batch does not keep: submit this case as a job, or send the option that "
    "puts them into the result (`inline`), if the model has it.",
)

Scored = dict[str, Any] | FieldFault

log = structlog.get_logger()


@dataclass
class CaseScorer:
    """Scores rows in micro-batches of at most `limit`, which is halved when a run is out of memory.

    A micro-batch that fails is halved down to the row at fault. `between` is called before each micro-batch and may raise
    to abandon the rows.
    """

    scoring: Scoring
    run: Run
    limit: int
    between: Callable[[], object]
    options: Mapping[str, object] = field(default_factory=dict)
    largest: int = field(init=False)

    def __post_init__(self) -> None:
        self.largest = self.limit

    def score(self, payloads: Sequence[bytes]) -> list[Scored]:
        """For each stored input its result, or why it has none."""
        cases = [Case(payload, self.options) for payload in payloads]
        found: list[Scored] = []
        while len(found) < len(cases):  # the limit may shrink on the way
            found += self._some(cases[len(found) : len(found) + self.limit])
        return found

    def _some(self, cases: Sequence[Case]) -> list[Scored]:
        if not cases:
            return []
        self.between()
        try:
            answers = self._answers(cases)
        except RowFault as fault:
            unreadable = FieldFault("", OtherCode(UNREADABLE.code), UNREADABLE.detail)
            before, behind = cases[: fault.index], cases[fault.index + 1 :]
            return [*self._some(before), unreadable, *self._some(behind)]
        except tuple(ALONE_AT_FAULT) as fault:
            return self._narrowed_down(cases, fault)
        return [ARTIFACTS_NOT_KEPT if answer.artifacts else answer.result for answer in answers]

    def _narrowed_down(self, cases: Sequence[Case], fault: Exception) -> list[Scored]:
        """Score the halves of rows that failed together; a row that fails alone is at fault."""
        if len(cases) == 1:
            if isinstance(
                fault, OutOfMemory
            ):  # the row is too large, not the micro-batch: larger ones may fit again
                self.limit = self.largest
            problem = ALONE_AT_FAULT[type(fault)]
            return [FieldFault("", OtherCode(problem.code), problem.detail)]
        middle = len(cases) // 2
        if isinstance(fault, OutOfMemory):
            self.limit = min(self.limit, middle)
            log.warning("batch_limit_halved", limit=self.limit)
        return [*self._some(cases[:middle]), *self._some(cases[middle:])]

    def _answers(self, cases: Sequence[Case]) -> list[Answer]:
        """The pipeline's answers. An unexpected error counts as the model's failure on these rows.

        So does what is no Exception, such as SystemExit: batches run in a thread, to which no signal is delivered.
        """
        try:
            answers = self.scoring.score(self.run, cases)
            check_answers(answers, len(cases))
        except RowFault as fault:
            check_row(fault, len(cases))
            raise
        except (PredictionInvalid, RunFailed) as fault:
            if len(cases) == 1:
                log_cause(fault)
            raise
        except (OutOfMemory, RunTimedOut, LeaseLost, Stopping):
            raise
        except MemoryError as fault:
            raise OutOfMemory from fault
        except BaseException as fault:
            log.error("pipeline_failed", cases=len(cases), exc_info=fault)
            raise RunFailed(type(fault).__name__) from fault
        return answers
