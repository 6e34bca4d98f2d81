"""The gate of a process: while something is missing that the work needs, it is closed and no work is taken.

Tests run at the start and every few seconds after. Faults are logged when they change, counted, written beside the
ready file of the process for health checks, and stored in Postgres, where `medqueue doctor` of any host reads it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from service.db import Database
from service.errors import ServiceError, SettingInvalid
from service.faults import Fault, Requirement, write_faults
from service.metrics import PROCESS_FAULTS

EVERY_S = 8.0
CLOSED_EVERY_S = 2.0
HANGS_AFTER_S = 10.0
# Without these no work may be taken. A failing blob store stops only what needs it: uploads and batches.
NEEDED = frozenset({Requirement.POSTGRES, Requirement.SCHEMA, Requirement.MASTER_KEY})

# Postgres has time limits of its own; a volume that does not answer has none.
HANGS = Fault(
    Requirement.BLOB_STORE,
    "MEDQUEUE_BLOB_URL",
    "what this process needs has been tested for long, and the test does not end",
    "Look at the volume or the store of the blobs, and at the database: one of them hangs.",
)
FORGET = "DELETE FROM process_fault WHERE process = %(process)s AND NOT (name = ANY (%(names)s))"
REPORT = """
INSERT INTO process_fault (process, name, setting, cause, advice)
SELECT %(process)s, *
FROM unnest(%(names)s::text[], %(settings)s::text[], %(causes)s::text[], %(advice)s::text[])
ON CONFLICT (process, name) DO UPDATE SET setting = excluded.setting, cause = excluded.cause, advice = excluded.advice,
    reported_at = now()
"""

log = structlog.get_logger()


class StartRefused(SettingInvalid):
    """A setting is wrong: the process cannot do its work with it."""

    code = "start_refused"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.variable = faults[0].setting
        ServiceError.__init__(self, "\n".join(map(str, faults)))


class Gate:
    """Whether this process may take work. `examine` makes all tests; they must not raise."""

    def __init__(
        self,
        process: str,
        examine: Callable[[], Iterable[Fault]],
        *,
        database: Database | None = None,
        record: Path | None = None,
    ) -> None:
        self._process = process
        self._examine = examine
        self._database = database
        self._record = record
        self._examining, self._telling = threading.Lock(), threading.Lock()
        self._opened = threading.Condition()
        self._found: dict[Requirement, Fault] = {}
        self._noted: dict[str, Fault] = {}
        self._told: tuple[Fault, ...] | None = (
            None  # None: what a predecessor of this name reported may still be there
        )
        self._began: float | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of the last tests, and those noted by work; also that a test hangs."""
        began = self._began
        hangs = began is not None and time.monotonic() - began > HANGS_AFTER_S
        return (*self._found.values(), *self._noted.values(), *((HANGS,) if hangs else ()))

    @property
    def open(self) -> bool:
        """Whether work may be taken."""
        return not NEEDED & self._found.keys()

    def meets(self, *requirements: Requirement) -> bool:
        """Whether the last tests found none of these missing."""
        return not self._found.keys() & set(requirements)

    def look(self) -> tuple[Fault, ...]:
        """Test everything now, and report it."""
        with self._examining:
            self._began = time.monotonic()
            try:
                found = {fault.requirement: fault for fault in self._examine()}
            finally:
                self._began = None
            with self._opened:
                self._found = found
                self._opened.notify_all()
            self._tell()
        return self.faults

    def note(self, subject: str, fault: Fault | None) -> None:
        """Keep a fault that work ran into, such as a model that does not load, until it is noted as gone."""
        with self._opened:
            if self._noted.get(subject) == fault:
                return
            if fault is None:
                self._noted.pop(subject, None)
            else:
                self._noted[subject] = fault
        self._tell()

    def wait_open(self, timeout_s: float) -> bool:
        """Wait until work may be taken, for `timeout_s` seconds at most; whether it may."""
        with self._opened:
            return self._opened.wait_for(lambda: self.open or self._closing.is_set(), timeout_s) and self.open

    def await_start(self) -> None:
        """Return once the process can do its work. Raises StartRefused when no waiting makes it so."""
        while True:
            wrong = [fault for fault in self.look() if fault.wrong_setting]
            if wrong:
                raise StartRefused(wrong)
            if self.open or self._closing.wait(CLOSED_EVERY_S):
                return

    def start(self) -> None:
        """Test every few seconds from now on, more often while something is wrong."""
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and withdraw the reports: the process is gone."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._record is not None:
            self._record.unlink(missing_ok=True)
        if self._told:
            self._store(())

    def _run(self) -> None:
        while not self._closing.wait(CLOSED_EVERY_S if self.faults else EVERY_S):
            try:
                self.look()
            except Exception as error:
                log.error("not_examined", exc_info=error)

    def _tell(self) -> None:
        """Log what has changed, and report the current faults."""
        with self._telling:
            self._tell_of(self.faults)

    def _tell_of(self, faults: tuple[Fault, ...]) -> None:
        if faults != self._told:
            for fault in faults:
                log.error("not_ready", requirement=fault.requirement, fault=str(fault), takes_work=self.open)
            if not faults and self._told:
                log.info("ready_again")
            for requirement in Requirement:
                held = [fault for fault in faults if fault.requirement is requirement]
                PROCESS_FAULTS.labels(requirement.value).set(len(held))
        if faults or self._told != faults:
            self._write(faults)
            self._store(faults)
        self._told = faults

    def _write(self, faults: tuple[Fault, ...]) -> None:
        """Report to health checks of this machine."""
        if self._record is None:
            return
        try:
            write_faults(self._record, faults)
        except OSError as error:
            log.warning("faults_not_written", reason=error.strerror)

    def _store(self, faults: tuple[Fault, ...]) -> None:
        """Report to other hosts, if Postgres is available."""
        if self._database is None or {Requirement.POSTGRES, Requirement.SCHEMA} & self._found.keys():
            return
        named = {_name(number, fault): fault for number, fault in enumerate(faults)}
        told = {
            "process": self._process,
            "names": list(named),
            "settings": [fault.setting for fault in named.values()],
            "causes": [fault.cause for fault in named.values()],
            "advice": [fault.advice for fault in named.values()],
        }
        try:
            with self._database.transaction() as work:
                work.execute(FORGET, told)
                work.execute(REPORT, told)
        except Exception as error:
            log.warning("faults_not_stored", exc_info=error)


def _name(number: int, fault: Fault) -> str:
    return f"{fault.requirement.value}-{number}"
