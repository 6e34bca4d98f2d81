"""Joins calls that arrive while one is under way into the next one: batches that form by themselves.

A commit costs the same for one row as for ten. The first caller runs at once and alone, so an idle system waits for
nothing; calls that arrive meanwhile are run together by the first of them. No thread of its own, no timer.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Call(Generic[Item, Answer]):
    """One caller's item, and what came of it."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = threading.Event()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.ended = False


class Combiner(Generic[Item, Answer]):
    """Runs items through `run_all`, up to `limit` at once, and gives each caller its own answer.

    An error of a type in `for_all` is every caller's of the batch. After any other, for which `run_all` must have
    done nothing, the items are run one by one, so that each error reaches the caller who caused it.
    """

    def __init__(
        self,
        run_all: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        limit: int,
        for_all: tuple[type[Exception], ...],
    ) -> None:
        self._run_all = run_all
        self._limit = limit
        self._for_all = for_all
        self._lock = threading.Lock()
        self._waiting: list[_Call[Item, Answer]] = []
        self._busy = False

    def run(self, item: Item) -> Answer:
        """The answer to `item`. Raises what `run_all` raised for it."""
        call: _Call[Item, Answer] = _Call(item)
        with self._lock:
            self._waiting.append(call)
            leads = not self._busy
            self._busy = True
        if not leads:
            call.woken.wait()
        if not call.ended:
            self._lead()
        if call.error is not None:
            try:
                raise call.error
            finally:  # it holds this frame, and so the item, which would wait for a garbage collection
                call.error = None
        return call.answer  # type: ignore[return-value]  # an ended call without error has its answer

    def _lead(self) -> None:
        """Run the batch at the head of the line, this caller's among it, and pass the lead on."""
        with self._lock:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        try:
            self._answer(batch)
        finally:
            self._pass_on(batch)

    def _answer(self, batch: list[_Call[Item, Answer]]) -> None:
        try:
            for call, answer in zip(batch, self._run_all([call.item for call in batch]), strict=True):
                call.answer = answer
        except BaseException as error:  # noqa: BLE001 - it is raised in the callers' threads
            if len(batch) > 1 and not isinstance(error, self._for_all):
                for call in batch:
                    self._answer([call])
                return
            for call in batch:
                call.error = error

    def _pass_on(self, batch: list[_Call[Item, Answer]]) -> None:
        with self._lock:
            successor = self._waiting[0] if self._waiting else None
            self._busy = successor is not None
        if successor is not None:
            successor.woken.set()
        for call in batch:
            call.ended = True
            call.woken.set()
