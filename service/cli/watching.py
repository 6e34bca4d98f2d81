"""Follows a job until it has ended, and writes its text as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from service.cli.exits import ExitCode
from service.cli.feed import follow
from service.lifecycle import JobState

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

VOID = "The text above is void: the attempt that wrote it was lost, or the job ended without it."


def watch(
    api: ApiClient, out: Output, job_id: str, *, pause: Callable[[float], None] = time.sleep
) -> ExitCode:
    """Write a job's text while it is written; with JSON, a line for each event."""
    tell = _tell_json if out.as_json else _tell
    for message in follow(partial(api.follow_text, job_id), note=out.note, pause=pause):
        told = json.loads(message.data)
        tell(out, message.event, told)
        if "state" in told:
            out.note(f"Its answer: medqueue jobs show {job_id}")
            return ExitCode.OK if told["state"] == JobState.SUCCEEDED else ExitCode.FAILED
    raise AssertionError("a stream is followed without end")


def _tell_json(out: Output, event: str, told: Json) -> None:
    out.write_piece(json.dumps({"event": event, **told}) + "\n")


def _tell(out: Output, event: str, told: Json) -> None:
    if event == "text.appended":
        out.write_piece(told["text"])
        return
    out.write_piece("\n")
    if event == "text.discarded":
        out.note(VOID)
    else:
        out.note(f"The job has ended: {told['state']}{', the model abstained' if told['abstained'] else ''}.")
