"""Named points at which the fault tests make a process die or hang.

Armed with a folder, a point takes the token (a file) of its name out of it and does what the token says; a token
`NAME@ID` stays and works whenever that job comes by. Not armed, which is always but in those tests, a point costs one
comparison.
"""

import os
import signal
import threading
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from uuid import UUID

EXIT_STATUS = 76


class Point(StrEnum):
    """Every point there is: before and after whatever leaves a trace outside the process."""

    SUBMIT_BEFORE = "submit.before"
    SUBMIT_AFTER = "submit.after"
    WAKE_UP_BEFORE = "wake_up.before"
    WAKE_UP_AFTER = "wake_up.after"
    TASK_TAKEN = "task.taken"
    CLAIM_BEFORE = "claim.before"
    CLAIM_AFTER = "claim.after"
    RUN_BEFORE = "run.before"
    RUN_AFTER = "run.after"
    ARTIFACTS_WRITTEN = "artifacts.written"
    END_BEFORE = "end.before"
    END_AFTER = "end.after"
    ANNOUNCE_AFTER = "announce.after"
    HEARTBEAT_BEFORE = "heartbeat.before"
    HEARTBEAT_AFTER = "heartbeat.after"
    RESCUE_BEFORE = "rescue.before"
    RESCUE_AFTER = "rescue.after"
    REWAKE_BEFORE = "rewake.before"
    REWAKE_AFTER = "rewake.after"
    STEP_CLAIM_AFTER = "step_claim.after"
    CHUNK_CLAIM_AFTER = "chunk_claim.after"
    CHUNK_SCORED = "chunk.scored"
    CHUNK_WRITTEN = "chunk.written"
    CHUNK_FINISH_BEFORE = "chunk_finish.before"
    CHUNK_FINISH_AFTER = "chunk_finish.after"
    FINALIZE_BEFORE = "finalize.before"
    FINALIZE_AFTER = "finalize.after"
    DELIVER_CLAIM_AFTER = "deliver_claim.after"
    DELIVER_SEND_AFTER = "deliver_send.after"
    DELIVER_RECORD_AFTER = "deliver_record.after"


class Effect(StrEnum):
    """What a token can say."""

    EXIT = "exit"  # at once, without any cleanup
    STOP = "stop"  # hang until SIGCONT


_folder: Path | None = None


def arm(folder: Path | None) -> None:
    """Look for tokens in `folder` from now on; nowhere with None."""
    global _folder  # noqa: PLW0603 - one switch a process
    _folder = folder


def reach(point: Point, job_ids: Iterable[UUID] = ()) -> None:
    """The process has reached `point`, holding these jobs."""
    if _folder is not None:
        _obey(_folder, point, job_ids)


def _obey(folder: Path, point: Point, job_ids: Iterable[UUID]) -> None:
    token = folder / point
    try:
        effect = token.read_text().strip()
        token.unlink()  # of several processes one gets it
    except FileNotFoundError:
        effect = "" if not any((folder / f"{point}@{job_id}").exists() for job_id in job_ids) else Effect.EXIT
    if effect == Effect.EXIT:
        os._exit(EXIT_STATUS)
    if effect == Effect.STOP:
        # To this thread: to the process, another thread may have to notice first, and this one goes on in the meantime.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
