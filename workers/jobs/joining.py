"""The jobs of a model that are scored while others join them: claims between two steps, and writes back what has its answer.

Others join until after MEDQUEUE_JOIN_S other models have work for this worker, and PERIODS times as long at most, so that it
comes to retries; what is being scored then is scored to its end. The jobs that this worker holds are in the scoring heartbeat
until their write-back holds them in its own.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from models.pipelines import Answer, Case
from service.errors import DatabaseUnavailable
from service.jobs.execution import ClaimedJob, Ending
from workers.heartbeat import Heartbeat
from workers.jobs.answers import check_answers
from workers.jobs.inputs import OpenedJob
from workers.jobs.write_back import Outcome, Requeue, WriteBack

PERIODS = 10
LOOK_S = 0.1  # between two looks for jobs that wait
SHOW_S = 0.25  # between two looks at what was written so far
SHOWN_PER_S = 65_536  # characters of it that are stored in a second: longer texts are shown less often

Opened = tuple[list[OpenedJob], list[Ending], list[Requeue]]


class JobsLost(Exception):
    """No job of a run is this worker's any more: all were canceled, or taken over by others."""


@dataclass(frozen=True)
class Steps:
    """What is done with jobs: `claim` claims at most so many that run beside so many others, and `open` opens their inputs.

    `end` makes the ending of a job by its answer, and `show` has others see what jobs have written so far. `others_wait`:
    whether other models have jobs that wait.
    """

    claim: Callable[[int, int], Sequence[ClaimedJob]]
    open: Callable[[Sequence[ClaimedJob]], Opened]
    end: Callable[[OpenedJob, Answer], Ending]
    show: Callable[[Sequence[tuple[OpenedJob, str]]], None]
    others_wait: Callable[[], bool]


@dataclass(frozen=True)
class Joining:
    """How many jobs are scored together, and for how many seconds others join whatever else there is to do."""

    room: int
    join_s: float


class JoiningJobs:
    """The arrivals (models.pipelines.arrivals) of a model's jobs."""

    def __init__(
        self, model: str, limits: Joining, steps: Steps, *, heartbeat: Heartbeat, write_back: WriteBack
    ) -> None:
        self._model = model
        self._limits = limits
        self._steps = steps
        self._heartbeat = heartbeat
        self._write_back = write_back
        self._held: dict[UUID, ClaimedJob] = {}
        self._waiting: list[OpenedJob] = []
        self._taken: dict[int, OpenedJob] = {}  # those without an answer, by number
        self._count = 0
        self._given_up: set[int] = set()
        self._endings: list[Ending] = []
        self._requeues: list[Requeue] = []
        self._began = time.monotonic()
        self._looks_at = self._began + LOOK_S
        self._shows_at = self._began + SHOW_S
        self._shown: Mapping[int, str] = {}
        self._closes_at = self._began + limits.join_s
        self._closed = False
        self.fault: BaseException | None = None  # of what is not the pipeline's

    @property
    def ids(self) -> Collection[UUID]:
        """Of the jobs that are held for the run, always the present ones."""
        return self._held.keys()

    @property
    def unanswered(self) -> list[OpenedJob]:
        """The jobs that are still held and have no answer."""
        return [*self._taken.values(), *self._waiting]

    def add(self, jobs: Sequence[ClaimedJob]) -> None:
        """Claimed jobs, which are held from now on."""
        self._held |= {job.lease.id: job for job in jobs}
        self._hold()
        try:
            cases, endings, requeues = self._steps.open(jobs)
        except DatabaseUnavailable:
            self._write_back.release(jobs)
            self._let_go([job.lease.id for job in jobs])
            return
        self._waiting += cases
        self._endings += endings
        self._requeues += requeues

    def take(self) -> list[Case]:
        """See Arrivals."""
        with self._apart():
            if not self._waiting:
                self._join()
            taken, self._waiting = self._waiting, []
            self._taken |= dict(enumerate(taken, self._count))
            self._count += len(taken)
            self._write()
            return [opened.case for opened in taken]

    def give(self, number: int, answer: Answer) -> None:
        """See Arrivals."""
        check_answers([answer], 1)
        with self._apart():
            opened = self._taken.pop(number, None)
            if opened is not None:
                self._endings.append(self._steps.end(opened, answer))
                self._write()

    def given_up(self) -> Collection[int]:
        """See Arrivals."""
        if lost := self._heartbeat.lost:
            gone = {number: each for number, each in self._taken.items() if each.job.lease.id in lost}
            for number in gone:
                del self._taken[number]
            self._given_up |= gone.keys()
            self._let_go([each.job.lease.id for each in gone.values()])
        return self._given_up

    def show(self, so_far: Callable[[], Mapping[int, str]]) -> None:
        """See Arrivals."""
        if time.monotonic() < self._shows_at:
            return
        before, self._shown = self._shown, so_far()
        news = {number: text for number, text in self._shown.items() if text != before.get(number, "")}
        if texts := [(self._taken[number], text) for number, text in news.items() if number in self._taken]:
            with self._apart():
                self._steps.show(texts)
        size = sum(len(text) for text in news.values())
        self._shows_at = time.monotonic() + max(SHOW_S, size / SHOWN_PER_S)

    def end(self, endings: Sequence[Ending]) -> None:
        """Write back all that is left, with the endings of the jobs that got theirs otherwise."""
        self._endings += endings
        self._write_back.wait()
        if self._endings or self._requeues:
            self._write_back.store(self._outcome(), behind=False)

    def _join(self) -> None:
        now, room = time.monotonic(), self._limits.room - len(self._taken)
        if room > 0 and now >= self._looks_at and self._taken and self._is_open(now):
            self._looks_at = now + LOOK_S
            if jobs := self._steps.claim(room, len(self._taken)):
                self.add(jobs)

    def _is_open(self, now: float) -> bool:
        """Whether others may join at this time."""
        if now >= self._closes_at and not self._closed:
            last = now >= self._began + PERIODS * self._limits.join_s
            self._closed = last or self._steps.others_wait()
            self._closes_at = now + self._limits.join_s
        return not self._closed

    def _write(self) -> None:
        """Write back what has ended, in the background, unless that is still writing what ended before."""
        if (self._endings or self._requeues) and self._write_back.idle:
            outcome = self._outcome()
            self._endings, self._requeues = [], []
            self._write_back.store(outcome, behind=True)
            self._let_go([job.lease.id for job in outcome.jobs])

    def _outcome(self) -> Outcome:
        ended = [each.lease.id for each in self._endings]
        ended += [each.job.lease.id for each in self._requeues]
        jobs = [self._held[job_id] for job_id in ended]
        return Outcome(self._model, jobs, self._endings, self._requeues)

    def _let_go(self, ids: Sequence[UUID]) -> None:
        for job_id in ids:
            self._held.pop(job_id, None)
        self._hold()

    def _hold(self) -> None:
        self._heartbeat.change([job.lease for job in self._held.values()])

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Faults of claims and write-backs must not be taken for the pipeline's: they end the run, and `fault` keeps them."""
        try:
            yield
        except BaseException as fault:
            self.fault = fault
            raise JobsLost from fault
