"""Keeps the lease of a piece of a batch's work while that makes progress, and tells it when to stop."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.leases import Lease
from workers.arbiter import GraphArbiter
from workers.heartbeat import Heartbeat

STEP_S = 120.0  # for reading, checking, writing: a block of rows, or a part


class LeaseLost(Exception):
    """The lease is lost: the batch has ended, or the lease lapsed and another worker took over."""


class Stopping(Exception):
    """This process is to stop: the work is released."""


class LeaseKeeper:
    """Keeps the lease of one piece of work at a time."""

    def __init__(self, heartbeat: Heartbeat, arbiter: GraphArbiter, stopping: threading.Event) -> None:
        self._heartbeat = heartbeat
        self.arbiter = arbiter
        self._stopping = stopping
        self.waited_s = 0.0

    @contextmanager
    def of(self, lease: Lease) -> Iterator[None]:
        """Keep a lease for the duration of the block."""
        self.waited_s = 0.0
        self._heartbeat.hold([lease], step_s=STEP_S)
        try:
            yield
        finally:
            self._heartbeat.let_go()

    def progress(self, step_s: float = STEP_S, stop: Callable[[], None] | None = None) -> None:
        """Report progress: the next step may take `step_s` seconds. Raises LeaseLost or Stopping."""
        if self._heartbeat.lost:
            raise LeaseLost
        if self._stopping.is_set():
            raise Stopping
        self._heartbeat.step(step_s, stop)

    def give_way(self) -> None:
        """Wait while jobs are being scored. Raises LeaseLost or Stopping."""
        began = time.perf_counter()
        self.arbiter.give_way(self.progress)
        self.waited_s += time.perf_counter() - began
        self.progress()
