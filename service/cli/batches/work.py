"""What a batch should do, as command-line options: those that `submit` and `schedules create` share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from service.cli.batches.sources import FORMATS, format_of
from service.cli.batches.zones import machine_zone
from service.cli.options import Delimiter, model_options

if TYPE_CHECKING:
    from service.cli.client import Json

OUTPUTS = ("ndjson", "parquet", "csv")  # a test compares them with OutputFormat
ARCHIVES = frozenset({"zip", "tar"})


@dataclass(frozen=True)
class Work:
    """The options of a batch. `zone` is the time zone of the window and of a schedule; None means this machine's."""

    model: str
    form: str | None
    window: str | None
    zone: str | None
    on_error: str | Json | None
    id_column: str | None
    carry: tuple[str, ...]
    ignore: tuple[str, ...]
    missing: tuple[str, ...]
    decimal: str | None
    delimiter: str | None
    index: str | None
    options: tuple[tuple[str, Any], ...]
    output: str | None
    place: str | None

    @property
    def zone_name(self) -> str:
        """The zone that was given, otherwise this machine's. Raises click.UsageError when there is no such zone."""
        from service.batches.windows import iana_zone

        found = self.zone or machine_zone(os.environ)
        with _worded():
            iana_zone(found)
        return found

    def request(self, source_name: str) -> Json:
        """These options as part of a request, without the source. Raises click.UsageError if they do not fit it."""
        form = format_of(source_name, self.form)
        if self.delimiter is not None and form != "csv":
            raise click.UsageError(f"--delimiter is for CSV, and this is {form}.")
        if (self.missing or self.decimal is not None) and form != "csv":
            raise click.UsageError(f"--missing and --decimal are for CSV, and this is {form}.")
        if self.index is not None and form not in ARCHIVES:
            raise click.UsageError(f"--index is for archives, and this is {form}.")
        wanted: Json = {
            "model": self.model,
            "format": form,
            "window": self._window(),
            "on_error": self.on_error,
            "output": self._output(),
            "id_column": self.id_column,
            "carry": list(self.carry) or None,
            "ignore": list(self.ignore) or None,
            "missing": list(self.missing) or None,
            "decimal": self.decimal,
            "delimiter": self.delimiter,
            "index": self.index,
            "options": dict(self.options) or None,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _window(self) -> Json | None:
        if self.window is None:
            return None
        from service.batches.windows import Window

        with _worded():
            Window.parsed(self.window, self.zone_name)
        return {"hours": self.window, "zone": self.zone_name}

    def _output(self) -> Json | None:
        if self.output is None and self.place is None:
            return None
        place = {} if self.place is None else {"place": self.place}
        return {"format": self.output or OUTPUTS[0], **place}


MOST_DIGITS = 18


class OnError(click.ParamType[Any]):
    """`continue`, `stop`, or after how many failed rows to stop."""

    name = "what"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As the service takes it."""
        if value in {"continue", "stop"}:
            return value
        if not (value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS) or not int(value):
            self.fail("say continue, stop, or after how many failed rows to stop, such as 100", param, ctx)
        return {"stop_after": int(value)}


WORK_OPTIONS = (
    click.option(
        "--model", required=True, metavar="NAME[@VERSION]", help="Model, or one version or alias of it."
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="Format of the file; detected from its suffix if omitted.",
    ),
    click.option("--window", metavar="HH:MM-HH:MM", help="Score only in these hours, such as 22:00-06:00."),
    click.option(
        "--zone",
        metavar="NAME",
        help="Time zone, such as Europe/Berlin; this machine's if omitted, or UTC if it has none.",
    ),
    click.option(
        "--on-error",
        type=OnError(),
        metavar="WHAT",
        help="When rows fail: `continue` (default), `stop` at the first, or stop after this many.",
    ),
    click.option("--id-column", metavar="C", help="Column with the ids of rows; it is copied to the output."),
    click.option("--carry", multiple=True, metavar="C", help="Column to copy to the output (repeatable)."),
    click.option(
        "--ignore",
        multiple=True,
        metavar="C",
        help="Column to ignore although its name resembles a field's (repeatable).",
    ),
    click.option(
        "--missing",
        multiple=True,
        metavar="TEXT",
        help="For CSV: text that marks a missing number, such as NA (repeatable).",
    ),
    click.option(
        "--decimal", type=click.Choice([".", ","]), help="For CSV: the decimal mark; a point if omitted."
    ),
    click.option(
        "--delimiter",
        type=Delimiter(),
        metavar="D",
        help="For CSV: a character, or `tab`; detected if omitted.",
    ),
    click.option("--index", metavar="NAME", help="For archives: the member that lists the files."),
    model_options,
    click.option("--output", type=click.Choice(OUTPUTS), help="Format of the output (default: ndjson)."),
    click.option("--place", metavar="URI", help="Folder that receives an unencrypted copy of the output."),
)


def takes_work(function: Callable[..., int]) -> Callable[..., int]:
    """A command with the options of what a batch should do, which it gets as `work`."""

    @functools.wraps(function)
    def run(*given: Any, **values: Any) -> int:  # the options, which click has checked
        work = Work(**{field.name: values.pop(field.name) for field in fields(Work)})
        return function(*given, work=work, **values)

    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(WORK_OPTIONS), run)


@contextmanager
def _worded() -> Iterator[None]:
    """A window or a zone that is none is a wrong command line."""
    from service.errors import WindowInvalid

    try:
        yield
    except WindowInvalid as error:
        raise click.UsageError(error.detail) from None
