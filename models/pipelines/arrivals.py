"""Continuous batching: cases that join while others of their model are scored, and answers that are given one by one.

For pipelines whose runs have many steps, as of a text that is written token by token: a case that has its answer leaves between
two steps, and its place is another's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

from models.pipelines.contract import Answer, Case, Run

CaseT_co = TypeVar("CaseT_co", covariant=True)
AnswerT_contra = TypeVar("AnswerT_contra", contravariant=True)
CaseT = TypeVar("CaseT")
AnswerT = TypeVar("AnswerT")


class Arrivals(Protocol[CaseT_co, AnswerT_contra]):
    """Where cases come from and answers go. Cases have numbers, from 0 on in the order in which they are taken."""

    def take(self) -> Sequence[CaseT_co]:
        """The cases that are to be scored beside those taken before; none while none wait or there is no room."""

    def give(self, number: int, answer: AnswerT_contra) -> None:
        """The answer of a case, once."""

    def given_up(self) -> Collection[int]:
        """Cases that nobody waits for any more, as their jobs were canceled; they need no answer."""

    def show(self, so_far: Callable[[], Mapping[int, str]]) -> None:
        """Have those who follow see how far answers have come: by case, a text that the answer may begin with.

        Called between steps; `so_far` is called only now and then.
        """


@runtime_checkable
class ContinuousScoring(Protocol):
    """A scoring half that lets cases join. Its `score` gives the same answers."""

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """See Scoring."""

    def score_arrivals(self, run: Run, arrivals: Arrivals[Case, Answer]) -> None:
        """Score cases until all that were taken have their answer and none wait.

        May raise anything, after some answers: the caller scores the other cases by `score`, which tells whose fault it is.
        """


class ReadArrivals(Generic[CaseT, AnswerT]):
    """Arrivals of stored cases as an author's pipeline has them: each is read when taken, each answer written when given."""

    def __init__(
        self,
        stored: Arrivals[Case, Answer],
        read: Callable[[int, Case], CaseT],
        write: Callable[[AnswerT], Answer],
    ) -> None:
        self._stored = stored
        self._read = read
        self._write = write
        self._taken = 0

    def take(self) -> list[CaseT]:
        """See Arrivals."""
        cases = self._stored.take()
        self._taken += len(cases)
        return [self._read(number, case) for number, case in enumerate(cases, self._taken - len(cases))]

    def give(self, number: int, answer: AnswerT) -> None:
        """See Arrivals."""
        self._stored.give(number, self._write(answer))

    def given_up(self) -> Collection[int]:
        """See Arrivals."""
        return self._stored.given_up()

    def show(self, so_far: Callable[[], Mapping[int, str]]) -> None:
        """See Arrivals."""
        self._stored.show(so_far)


class AllAtOnce(Generic[CaseT, AnswerT]):
    """Cases that are all there from the beginning, and their answers."""

    def __init__(self, cases: Sequence[CaseT]) -> None:
        self._count = len(cases)
        self._waiting = cases
        self._found: dict[int, AnswerT] = {}

    @property
    def answers(self) -> list[AnswerT]:
        """One of each case, in their order."""
        return [self._found[number] for number in range(self._count)]

    def take(self) -> Sequence[CaseT]:
        """See Arrivals."""
        taken, self._waiting = self._waiting, ()
        return taken

    def give(self, number: int, answer: AnswerT) -> None:
        """See Arrivals."""
        self._found[number] = answer

    def given_up(self) -> Collection[int]:
        """See Arrivals."""
        return ()

    def show(self, so_far: Callable[[], Mapping[int, str]]) -> None:
        """See Arrivals. Nobody follows."""
