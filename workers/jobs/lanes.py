"""Two lanes of a worker process: quick models are scored while slow ones are, so that their jobs do not wait for those.

The quick lane is the thread in which wake-ups are consumed, or the polling thread while none come. The slow lane is a thread
of its own: it takes models that are slow (workers.pace), and those that have to be loaded first, one micro-batch of each in
turn. What a slow model computes goes on beside the quick lane, since ONNX Runtime and Pillow leave the interpreter to others
meanwhile; a second core is used where there is one. Where there is none, the kernel prefers the quick lane.
"""

import os
import threading
import time
from collections.abc import Callable
from uuid import UUID

import structlog

from service.errors import DatabaseUnavailable, ServiceError
from workers.heartbeat import HANG_EXIT_STATUS
from workers.jobs.scoring import Scorer
from workers.pool import ModelPool

NICENESS = 5  # a third of the processor time of a busy thread of niceness 0; batches have 10, a tenth

RESTS_S = 30.0  # for a model that failed here: each of its messages tries it as well

log = structlog.get_logger()


class SlowLane:
    """A thread that scores the models that were named to it."""

    def __init__(
        self,
        scorer: Scorer,
        *,
        clock: Callable[[], float] = time.monotonic,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._scorer = scorer
        self._clock = clock
        self._end_process = end_process
        self._changed = threading.Condition()
        self._waiting: dict[UUID, None] = {}
        self._rests_until: dict[UUID, float] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="slow-lane", daemon=True)

    def start(self) -> None:
        """Score from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing more."""
        with self._changed:
            self._scorer.stopping = self._closing = True
            self._changed.notify()

    def close(self) -> None:
        """Stop, and end the thread after its current micro-batch."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()

    def take(self, version_id: UUID, *, polled: bool) -> None:
        """Score a model's jobs as soon as it is its turn, until there are none; one that failed may rest, if it was polled."""
        with self._changed:
            if not polled or self._clock() >= self._rests_until.get(version_id, 0.0):
                self._waiting.setdefault(version_id)
                self._changed.notify()

    def _run(self) -> None:
        """Score until stopped. If the thread ends otherwise, the process does, and its jobs are rescued."""
        try:
            self._score_on()
        except BaseException as fault:
            log.critical("slow_lane_ended", exc_info=fault)
            if not self._closing:
                self._end_process(HANG_EXIT_STATUS)

    def _score_on(self) -> None:
        os.nice(NICENESS)  # on Linux, of this thread alone
        while (version_id := self._next()) is not None:
            if self._score(version_id):
                self.take(version_id, polled=False)

    def _next(self) -> UUID | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._waiting)
            if self._closing:
                return None
            version_id = next(iter(self._waiting))
            del self._waiting[version_id]
            return version_id

    def _score(self, version_id: UUID) -> int:
        try:
            claimed = self._scorer.score(version_id)
        except DatabaseUnavailable:
            log.warning("scoring_put_off", version=str(version_id), reason=DatabaseUnavailable.code)
            return 0
        except Exception as error:
            code = error.code if isinstance(error, ServiceError) else "internal_error"
            log.error("scoring_failed", version=str(version_id), code=code, exc_info=error)
            self._rests_until[version_id] = self._clock() + RESTS_S
            return 0
        self._rests_until.pop(version_id, None)
        return claimed


class Lanes:
    """Where a process scores: in the caller's thread what is quick, in the slow lane all else."""

    def __init__(self, quick: Scorer, slow: SlowLane, pool: ModelPool) -> None:
        self._quick = quick
        self._slow = slow
        self._pool = pool

    @property
    def quiet_s(self) -> float:
        """How long the caller's lane has had nothing to do."""
        return self._quick.quiet_s

    def score(self, version_id: UUID, *, polled: bool = False) -> int:
        """Score a micro-batch of a quick model, or leave a slow one to its lane; the number of jobs claimed in this thread.

        Raises as Scorer.score.
        """
        if self._pool.is_slow(version_id):
            self._slow.take(version_id, polled=polled)
            return 0
        return self._quick.score(version_id)

    def start(self) -> None:
        """Score in the slow lane from now on."""
        self._slow.start()

    def stop(self) -> None:
        """Begin nothing new."""
        self._quick.stopping = True
        self._slow.stop()

    def close(self) -> None:
        """End the thread of the slow lane."""
        self._slow.close()
