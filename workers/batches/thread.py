"""The thread of a worker process that works on batches: steps first, then chunks, as long as there is work.

It polls for work, so batches need no wake-ups, and it gives way to jobs: it claims nothing while jobs are queued, runs no
graph while jobs are being scored, and has a lower scheduling priority than everything else on the machine. If the thread
ends unexpectedly, the process exits so that its supervisor restarts it.
"""

import os
import threading
from collections.abc import Callable

import structlog

from service.errors import DatabaseUnavailable
from workers.arbiter import GraphArbiter
from workers.batches.chunks import ChunkWorker
from workers.batches.lease_keeper import LeaseKeeper
from workers.batches.services import BatchServices
from workers.batches.steps import StepWorker
from workers.heartbeat import Heartbeat

LOOK_S = 1.0
AFTER_FAULT_S = 5.0
NICENESS = 10
THREAD_LOST_EXIT_STATUS = 75  # as for a run that hangs: the supervisor restarts the process

log = structlog.get_logger()


class BatchThread:
    """Works on batches alongside the scorer of this process."""

    def __init__(
        self, services: BatchServices, arbiter: GraphArbiter, *, end_process: Callable[[int], None] = os._exit
    ) -> None:
        self._end_process = end_process
        self._stopping = threading.Event()
        self._services = services
        self._heartbeats = [
            Heartbeat(services.database, table=table, lease_s=services.lease_s)
            for table in ("batch_step", "batch_chunk")
        ]
        of_steps, of_chunks = self._heartbeats
        self._steps = StepWorker(services, LeaseKeeper(of_steps, arbiter, self._stopping))
        self._chunks = ChunkWorker(services, LeaseKeeper(of_chunks, arbiter, self._stopping))
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    @property
    def holds(self) -> bool:
        """Whether it is processing a chunk or step."""
        return any(heartbeat.holds for heartbeat in self._heartbeats)

    def start(self) -> None:
        """Work from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Release the current work as soon as possible."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, and end the thread."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._chunks.close()
        for heartbeat in self._heartbeats:
            heartbeat.close()

    def work(self) -> bool:
        """Do one piece of work, if there is any and this process is able to. Raises DatabaseUnavailable."""
        if not self._services.may_work:
            return False
        return self._steps.work() or self._chunks.work()

    def _run(self) -> None:
        """Work until stopped. If the thread ends otherwise, its current work is rescued when the lease lapses."""
        try:
            self._work_on()
        except BaseException as fault:
            log.critical("batch_thread_ended", exc_info=fault)
            if not self._stopping.is_set():
                self._end_process(THREAD_LOST_EXIT_STATUS)

    def _work_on(self) -> None:
        # On Linux niceness applies to a single thread: jobs, the API and Postgres go first.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._stopping.is_set():
            self._stopping.wait(self._pause_s())

    def _pause_s(self) -> float:
        """Do one piece of work; returns how long to wait before the next."""
        try:
            return 0.0 if self.work() else LOOK_S
        except DatabaseUnavailable:
            log.warning("batch_work_put_off", reason=DatabaseUnavailable.code)
            return LOOK_S
        except Exception as error:
            log.error("batch_work_failed", exc_info=error)
            return AFTER_FAULT_S
