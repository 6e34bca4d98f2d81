"""Follows a batch until it has ended: a bar on a terminal, elsewhere a line for each change."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.cli.batches import tables
from service.cli.errors import ApiProblem, Unreachable
from service.cli.exits import ExitCode
from service.cli.output import console_over, printable, tolerant
from service.lifecycle import ENDED_BATCH_STATES, BatchState

if TYPE_CHECKING:
    from pathlib import Path

    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

Tell = Callable[["Json"], None]

BUSY_S = 1.0
IDLE_S = 5.0
LONGEST_RETRY_S = 30.0
IDLE_STATES = frozenset({BatchState.SCHEDULED, BatchState.PAUSED})


def watch(
    api: ApiClient,
    out: Output,
    batch_id: str,
    *,
    columns_told: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[Json, ExitCode]:
    """Show the progress of a batch until it has ended, then its outcome: the batch, and the exit code.

    What of its file was not read is noted, unless that was told before. Ctrl-C stops watching, not the batch, and says so.
    """
    try:
        with showing(out) as tell:
            view = until_ended(api, batch_id, tell=tell, note=out.note, pause=pause)
    except KeyboardInterrupt:
        out.note(f"The batch continues. Watch it again: medqueue batch watch {batch_id}")
        raise
    out.show(view, lambda: tables.text(tables.outcome(view)))
    if not columns_told and (unused := tables.unused_columns(view)):
        out.note(unused)
    return view, exit_code(view)


def exit_code(view: Json) -> ExitCode:
    """Of a batch that has ended: a failure, too, where rows failed and none was scored."""
    counts = view["counts"]
    nothing = counts["failed"] > 0 and not counts["succeeded"]
    return ExitCode.OK if view["state"] == BatchState.COMPLETED and not nothing else ExitCode.FAILED


def advise(api: ApiClient, out: Output, view: Json) -> None:
    """Say, beside the answer, why rows of a batch that has ended failed, and suggest what can be done with it."""
    batch_id, counts = view["id"], view["counts"]
    explain(api, out, view)
    partial = "" if view["state"] == BatchState.COMPLETED else "--partial "
    if counts["succeeded"] and not view["dry_run"]:
        out.note(f"Results: medqueue batch results {batch_id} {partial}-o FILE")
    if counts["failed"]:
        out.note(f"Rows that failed, and why: medqueue batch errors {batch_id} {partial}-o FILE")
    if counts["failed"] and not view["dry_run"]:
        out.note(f"These rows again: medqueue batch rerun {batch_id}")


def explain(api: ApiClient, out: Output, view: Json, errors: Path | None = None) -> None:
    """Say why rows failed, where some did. `errors` is the file of errors where it was fetched before."""
    if view["counts"]["failed"]:
        from service.cli.batches.faults import reasons

        if why := reasons(api, out, view, errors):
            out.note(f"Why rows failed: {why}")


def until_ended(
    api: ApiClient,
    batch_id: str,
    *,
    tell: Tell,
    note: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Json:
    """The batch once it has ended; `tell` is called each time it was read.

    The first request must succeed. Later, an unavailable service is asked again without limit, less and less often: the
    batch is safe in its database. Raises ApiProblem when it refuses.
    """
    view = api.batch(batch_id)
    broke = 0
    while True:
        tell(view)
        if view["state"] in ENDED_BATCH_STATES:
            return view
        pause(IDLE_S if view["state"] in IDLE_STATES else BUSY_S)
        while (found := _read(api, batch_id, note if not broke else None)) is None:
            broke += 1
            pause(min(BUSY_S * 2**broke, LONGEST_RETRY_S))
        view, broke = found, 0


def _read(api: ApiClient, batch_id: str, note: Callable[[str], None] | None) -> Json | None:
    """The batch; None when the service is unavailable, which `note` reports."""
    try:
        return api.batch(batch_id)
    except (Unreachable, ApiProblem) as fault:
        if isinstance(fault, ApiProblem) and not fault.temporary:
            raise
        if note is not None:
            note(f"{fault} Trying again; this does not affect the batch.")
        return None


@contextmanager
def showing(out: Output) -> Iterator[Tell]:
    """Where a batch is shown while it is watched: nowhere beside JSON, a bar on a terminal, else lines on stderr."""
    console = console_over(tolerant(sys.stderr))
    if out.as_json:
        yield lambda _: None
    elif console.is_terminal:
        with _bar() as tell:
            yield tell
    else:
        yield Lines(out.note)


class Lines:
    """Writes a line whenever the state, the whole percent or the trouble of a batch has changed."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._told: object = None

    def __call__(self, view: Json) -> None:
        """Write a line about the batch if something has changed."""
        total = view["counts"]["total"]
        percent = tables.rows_done(view) * 100 // total if total else None
        news = (view["state"], percent, bool(view["counts"]["failed"]))
        if news != self._told:
            self._told = news
            self._write(f"{view['state']}{tables.parted(tables.progress(view))}")


@contextmanager
def _bar() -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, TextColumn

    state, words = (TextColumn(f"{{task.{each}}}", markup=False) for each in ("description", "fields[words]"))
    console = console_over(tolerant(sys.stderr))
    with Progress(state, BarColumn(bar_width=24), words, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, words="")

        def tell(view: Json) -> None:
            progress.update(
                task,
                description=printable(view["state"]),
                total=view["counts"]["total"],
                completed=tables.rows_done(view),
                words=printable(tables.progress(view)),
            )

        yield tell
