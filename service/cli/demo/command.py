"""`medqueue demo`: starts a stack, takes the tour, stops it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.exits import ExitCode
from service.cli.options import json_option
from service.cli.output import Output, error_text, write_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from service.cli.demo.steps import Tour

Taken = dict[str, Any]  # title and took_s of a step


@click.command("demo")
@json_option
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write the pictures of results here, such as a photograph with the cells that were found.",
)
def demo(as_json: bool, pictures: Path | None) -> int:
    """See the service at work on real cases, in a minute or two.

    Starts a separate stack (Postgres, Redis, API, worker and scheduler) in a temporary folder on a free port; submits
    known cases of the bundled models one by one, in bulk, as an image and as a batch, checks every answer, shows a
    refusal, an audit trail, a cancel and a webhook; then stops everything and removes the folder. Affects no other stack
    and no setting.

    Ends with 0 only if every step succeeded.
    """
    from service.cli.demo.errors import DemoFailed
    from service.cli.errors import ApiProblem, Unreachable

    out, started = Output(as_json=as_json), time.monotonic()
    taken: list[Taken] = []
    fault = None
    try:
        _run(out, taken, pictures)
    except (DemoFailed, ApiProblem, Unreachable) as error:
        fault = error
    document = {"ok": fault is None, "steps": taken, "took_s": round(time.monotonic() - started, 1)}
    if fault is not None:
        write_error(error_text(fault))
    out.show(document, lambda: _conclusion(document))
    return ExitCode.OK if fault is None else ExitCode.FAILED


def _run(out: Output, taken: list[Taken], pictures: Path | None) -> None:
    from service.cli import tables
    from service.cli.client import ApiClient
    from service.cli.demo.stack import temporary_stack
    from service.cli.demo.steps import STEPS, Tour

    with ExitStack() as running:
        with out.waiting("starting Postgres, Redis, API, worker and scheduler"):
            api = running.enter_context(ApiClient(running.enter_context(temporary_stack(out.note))))
        show = (lambda _: None) if out.as_json else out.print
        tour = Tour(api, show, pictures)
        for number, (title, step) in enumerate(STEPS, 1):
            show(tables.text(f"\n{number}. {title}", "bold cyan"))
            taken.append(take(title, step, tour))
        with out.waiting("stopping"):
            running.close()


def take(title: str, step: Callable[[Tour], None], tour: Tour) -> Taken:
    """Take one step; what there is to say of it afterwards."""
    started = time.monotonic()
    step(tour)
    return {"title": title, "took_s": round(time.monotonic() - started, 3)}


def _conclusion(document: dict[str, Any]) -> RenderableType:
    from service.cli import tables

    if not document["ok"]:
        return tables.text("\nThe demo failed; the reason is above.", "bold red")
    return tables.text(
        f"\nAll {len(document['steps'])} steps did what they should, in {document['took_s']:.0f} s. The stack is stopped "
        "and its folder removed.\nStart your own with `medqueue up`.",
        "bold green",
    )
