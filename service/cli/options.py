"""Options that commands share, and what they give a command: an API, an installation, a place for its answer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from models.strict_json import JsonInvalid, read_json
from service.cli.output import Output

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True)
class Invocation:
    """What a caller of `main` may put in place of the network: tests do."""

    transport: httpx.BaseTransport | None = None


class InOrder(click.Group):
    """A group that lists its commands in the order in which a reader needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The commands as they were added."""
        return list(self.commands)


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601, as the API and this command line print it. One without a zone is local, or of the zone given."""

    name = "time"

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time that `value` says."""
        try:
            told = datetime.fromisoformat(value)
            return (
                told.replace(tzinfo=self._zone) if told.tzinfo is None and self._zone else told.astimezone()
            )
        except (ValueError, OverflowError):
            self.fail("give a time such as 2027-01-31T18:00:00Z or 2027-01-31T19:00:00+01:00", param, ctx)


class Pair(click.ParamType[tuple[str, Any]]):
    """Two texts joined by `=`, such as NAME=VALUE: `form` names both, `example` shows both.

    The first `=` divides them, or with `last` the last one; the first text may then be empty. `read` makes a value of the
    second text, which may then be empty.
    """

    def __init__(
        self, form: str, example: str, *, last: bool = False, read: Callable[[str], Any] | None = None
    ) -> None:
        self.name = form.lower()
        self._form, self._example, self._last, self._read = form, example, last, read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """Both parts."""
        first, equals, second = value.rpartition("=") if self._last else value.partition("=")
        if not equals or (not first and not self._last) or (not second and self._read is None):
            self.fail(f"write it as {self._form}, such as {self._example}", param, ctx)
        return first, second if self._read is None else self._read(second)


def json_or_text(text: str) -> Any:
    """The JSON value that is written, or otherwise the text."""
    try:
        return read_json(text.encode())
    except (JsonInvalid, UnicodeEncodeError):
        return text


def each_name_once(
    context: click.Context, parameter: click.Parameter, pairs: tuple[tuple[str, Any], ...]
) -> tuple[tuple[str, Any], ...]:
    """The callback of a repeatable option of pairs: the pairs. Raises click.BadParameter for a name with two values."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.BadParameter(f"{twice} is given twice: give each name once", context, parameter)
    return pairs


model_options = click.option(
    "--option",
    "options",
    type=Pair("NAME=VALUE", "top=5", read=json_or_text),
    multiple=True,
    callback=each_name_once,
    metavar="NAME=VALUE",
    help="An option of the model, such as top=5 (repeatable; `medqueue models show` lists them).",
)


class FiniteRange(click.FloatRange):
    """A number within bounds, which an infinity and NaN are not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


data_dir_option = click.option(
    "--data-dir",
    envvar="MEDQUEUE_DATA_DIR",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".medqueue"),
    show_default=True,
    metavar="FOLDER",
    help="Folder of the embedded stack.",
)
url_option = click.option(
    "--url", envvar="MEDQUEUE_URL", show_envvar=True, metavar="URL", help="Another service's address."
)
key_option = click.option(
    "--key",
    envvar="MEDQUEUE_KEY",
    show_envvar=True,
    metavar="KEY",
    help="API key; the embedded stack's admin key if omitted. Other users of this machine can see "
    "a command line: the variable is safer.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to stdout.")


def over_api(function: Callable[..., int]) -> Callable[..., int]:
    """A command that speaks to the API: gets an ApiClient and an Output, and the options for both."""

    @data_dir_option
    @url_option
    @key_option
    @json_option
    @functools.wraps(function)
    def run(
        data_dir: Path,
        url: str | None,
        key: str | None,
        as_json: bool,
        **values: Any,  # the command's own options, which click has checked
    ) -> int:
        from service.cli.client import ApiClient
        from service.cli.target import find_target

        context = click.get_current_context()
        if _was_given(context, "data_dir") and not _was_given(context, "url"):
            url, key = None, key if _was_given(context, "key") else None
        invocation: Invocation = context.obj
        with ApiClient(find_target(data_dir, url, key), invocation.transport) as api:
            return function(api, Output(as_json=as_json), **values)

    return run


def _was_given(context: click.Context, name: str) -> bool:
    """Whether an option is given on the command line itself: then it takes precedence over variables."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def over_installation(function: Callable[..., int]) -> Callable[..., int]:
    """An operator's command, on the database itself: gets an Installation and an Output, and their options."""

    @data_dir_option
    @json_option
    @functools.wraps(function)
    def run(data_dir: Path, as_json: bool, **values: Any) -> int:
        from service.cli.installation import open_installation

        with open_installation(data_dir) as installation:
            return function(installation, Output(as_json=as_json), **values)

    return run


class Delimiter(click.ParamType[str]):
    r"""One character; a tab may be written `tab` or `\t`."""

    name = "character"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The character."""
        character = "\t" if value in {"tab", r"\t"} else str(value)
        if len(character) != 1:
            self.fail("give one character, or `tab`", param, ctx)
        return character
