"""The models that this worker refuses for a while, and why. Their jobs stay queued, for other workers."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from models.difference import shortened
from service.catalog import PublishedModel
from service.metrics import MODELS_REFUSED
from service.refusals import Refusal

REFUSED_S = 60.0  # then it is tried again: memory may be free, or a library repaired

MOST_CHARACTERS = 600  # of a reason: an unknown pipeline is told with the names of all

OTHER_WORKER = (
    "Its jobs wait for workers that do not refuse it: start one with another MEDQUEUE_PROVIDER, or publish a version that "
    "holds its golden cases on this one."
)
MORE_MEMORY = "Its jobs wait for a worker with more memory: start one, or publish a smaller version."
MEND = "Its jobs wait: do what is said there, and restart the worker."

log = structlog.get_logger()


class ModelRefused(Exception):
    """This worker cannot load the model, or answers its golden cases differently. Other workers may score its jobs."""


@dataclass(frozen=True)
class _Refused:
    model: str
    refusal: Refusal
    until: float


class Refusals:
    """The refused models. `tell` is called with the refusals by model whenever they change. Thread-safe."""

    def __init__(
        self,
        tell: Callable[[Mapping[str, Refusal]], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[UUID, _Refused] = {}

    def check(self, version_id: UUID) -> None:
        """Raise ModelRefused while the model is refused."""
        refused = self._refused.get(version_id)
        if refused is not None and self._clock() < refused.until:
            raise ModelRefused(refused.refusal.reason)

    def current(self) -> set[UUID]:
        """The versions that are refused now. Those refused REFUSED_S ago may be tried again."""
        with self._lock:
            return {each for each, refused in self._refused.items() if self._clock() < refused.until}

    def by_model(self) -> dict[str, Refusal]:
        """Each refused model ("NAME VERSION") with its refusal, until it is lifted."""
        with self._lock:
            return self._by_model()

    def refuse(self, model: PublishedModel, reason: str, advice: str = OTHER_WORKER) -> ModelRefused:
        """Refuse a model from now on, with what an operator can do; returns the exception to raise."""
        named, reason = f"{model.name} {model.version}", shortened(reason, MOST_CHARACTERS)
        with self._lock:
            self._refused[model.id] = _Refused(named, Refusal(reason, advice), self._clock() + REFUSED_S)
            self._changed()
        log.error("model_refused", model=model.name, version=model.version, reason=reason)
        return ModelRefused(f"{named}: {reason}")

    def lift(self, version_id: UUID) -> None:
        """Accept a model that was loaded and answers its golden cases correctly."""
        with self._lock:
            if self._refused.pop(version_id, None) is not None:
                self._changed()

    def _by_model(self) -> dict[str, Refusal]:
        return {refused.model: refused.refusal for refused in self._refused.values()}

    def _changed(self) -> None:
        MODELS_REFUSED.set(len(self._refused))
        if self._tell is None:
            return
        try:
            self._tell(self._by_model())
        except OSError as error:
            log.warning("refusals_not_written", reason=type(error).__name__)
