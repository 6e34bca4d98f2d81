"""Sends messages to this process itself and records whether they are consumed, as proof that it consumes messages.

Sending and consuming are done by different threads. `medqueue health` reads the record; see service.pulse.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog
from redis.exceptions import RedisError

from service.broker import send_pulse
from service.pulse import Pulse
from service.redis_client import redis_client
from service.redis_faults import RedisFault, fault_of
from service.refusals import Refusal
from service.shared_refusals import share_refusals

PULSE_S = 3.0
# A task without a job may load a large model, or wait for Postgres, whose statements end after 60 s.
TASK_S = 300.0
# A consumer retries an unavailable Redis every second (service.consuming), and then sets itself up again.
RECONNECT_S = 5.0
# A consumer that Redis refuses tries again within this time; one that does not has a fault of its own.
CONSUMER_TRIES_S = 10.0

log = structlog.get_logger()


class OwnPulse:
    """The pulse of a process. `send` raises RedisError or OSError if Redis does not accept the message."""

    def __init__(
        self,
        send: Callable[[], None],
        *,
        holds: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._holds = holds
        self._clock = clock
        self._lock = threading.Lock()
        self._in_hand: list[float] = []
        self._taken_at = float("-inf")
        self._waits_since: float | None = None
        self._fault: RedisFault | None = None
        self._not_given_at = float("-inf")
        self._swept_at: float | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._path: Path | None = None

    @contextmanager
    def task(self) -> Iterator[None]:
        """A task runs for the duration of the block. Any task proves that a message was consumed."""
        with self._lock:
            began = self._taken_at = self._clock()
            self._waits_since = None
            self._not_given_at = float("-inf")
            self._in_hand.append(began)
        try:
            yield
        finally:
            with self._lock:
                self._in_hand.remove(began)
                if self._waits_since is not None:  # nothing could consume it in the meantime
                    self._waits_since = self._clock()

    def beat(self) -> Pulse:
        """Send a message, unless the last one is still waiting, and return the current pulse."""
        began = self._clock()
        try:
            self._send()
        except (RedisError, OSError) as error:
            self._note(error)
        else:
            self._note_sent(began)
        return self.now()

    def now(self) -> Pulse:
        """The current pulse."""
        with self._lock:
            at = self._clock()
            busy = bool(self._in_hand) and at - self._in_hand[0] < TASK_S
            fault = None if self._fault is None else self._fault.value
            return Pulse(
                at, self._waits_since, busy or self._holds(), fault is not None, fault, self._swept_at
            )

    def swept(self) -> None:
        """Record that a round of sweeps has ended."""
        self._swept_at = self._clock()

    def start(self, path: Path) -> None:
        """Start beating, and keep the record in `path`."""
        self._path = path
        self._write(self.now())
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and remove the record."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def note_unavailable(self, error: Exception) -> None:
        """Record that the consumer could not receive messages, although Redis may still accept this process's messages."""
        with self._lock:
            self._not_given_at = self._clock()
        self._note(error)

    def _note_sent(self, began: float) -> None:
        """Record that Redis has had a message since `began`, unless it is consumed. After an outage Celery needs a while."""
        with self._lock:
            if self._clock() - self._not_given_at < CONSUMER_TRIES_S:
                return
            if self._taken_at < began and self._waits_since is None:
                self._waits_since = began + (0.0 if self._fault is None else RECONNECT_S)
            if self._fault is not None:
                log.info("redis_back", after=self._fault.value)
            self._fault = None

    def _note(self, error: Exception) -> None:
        fault = fault_of(error)
        with self._lock:
            if fault is not self._fault:
                log.warning(
                    "pulse_not_sent", fault=fault.value, advice=fault.advice, reason=type(error).__name__
                )
            self._fault, self._waits_since = fault, None

    def _run(self) -> None:
        while not self._closing.wait(PULSE_S):
            self._write(self.beat())

    def _write(self, pulse: Pulse) -> None:
        assert self._path is not None
        try:
            pulse.write(self._path)
        except OSError as error:
            log.warning("pulse_not_written", reason=type(error).__name__)


def pulse_over(
    redis_url: str,
    process: str,
    *,
    holds: Callable[[], bool],
    refused: Callable[[], Mapping[str, Refusal]] | None = None,
) -> OwnPulse:
    """The pulse of the named process, over Redis. A worker that scores shares the models `refused` with each beat."""
    redis = redis_client(redis_url)

    def send() -> None:
        send_pulse(redis, process)
        if refused is not None:
            share_refusals(redis, process, refused())

    return OwnPulse(send, holds=holds)
