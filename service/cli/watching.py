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

# Written behind the text, wherever that goes: notes on stderr do not reach what reads the text through a pipe.
VOID = "[The text above is void: the attempt that wrote it was lost, or the job ended without it.]"
ABSTAINED = "[The model abstained: {reason}. There is no answer, and no text above is one.]"


def watch(
    api: ApiClient, out: Output, job_id: str, *, pause: Callable[[float], None] = time.sleep
) -> ExitCode:
    """Write a job's text while it is written; with JSON, a line for each event."""
    tell = _tell_json if out.as_json else _tell
    for message in follow(partial(api.follow_text, job_id), note=out.note, pause=pause):
        told = json.loads(message.data)
        if told.get("abstained"):
            told["abstain_reason"] = (api.job(job_id)["result"] or {}).get("abstain_reason")
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
    if event == "text.discarded":
        out.write_piece(f"\n{VOID}\n")
    elif told["abstained"]:
        out.write_piece(f"{ABSTAINED.format(reason=told['abstain_reason'])}\n")
    else:
        out.write_piece("\n")
        out.note(f"The job has ended: {told['state']}.")
