"""What a command writes: one JSON document, or tables for a reader; on stdout the answer, on stderr the rest."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from service.cli.errors import ApiProblem
from service.errors import ServiceError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PLAIN_WIDTH = 4096  # of a line that no terminal shows: nothing is wrapped there


class Output:
    """Where the answer of one command goes, and in which form."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, document: object, readable: "Callable[[], RenderableType]") -> None:
        """Write the answer: `document` as JSON, or what `readable` makes of it."""
        if self.as_json:
            self.write_json(document)
        else:
            self.print(readable())

    def print(self, readable: "RenderableType") -> None:
        """Write for a reader: colours and lines on a terminal; elsewhere plain text, no line padded."""
        console = console_over(tolerant(sys.stdout))
        if console.is_terminal:
            console.print(readable)
            return
        with console.capture() as captured:
            console.print(readable)
        lines = (line.rstrip() for line in captured.get().splitlines())
        _write("\n".join(lines))

    def write_json(self, document: object) -> None:
        """Write the one JSON document of a command."""
        _write(json.dumps(document, ensure_ascii=False, indent=2, default=str))

    def write_piece(self, text: str) -> None:
        """Write a piece of a text that goes on, at once."""
        _write(printable(text), end="")

    def note(self, text: str) -> None:
        """A note in addition to the answer, on stderr."""
        write_error(text)

    @contextmanager
    def waiting(self, label: str) -> Iterator[Callable[[str], None]]:
        """Show a spinner while the block runs, on a terminal; the block may change its label."""
        console = console_over(tolerant(sys.stderr))
        if self.as_json or not console.is_terminal:
            yield lambda _: None
            return
        from rich.text import Text

        with console.status(Text(printable(label))) as status:
            yield lambda words: status.update(Text(printable(words)))

    @contextmanager
    def counting(
        self, label: str, total_bytes: int | None, done_bytes: int = 0
    ) -> Iterator[Callable[[int], None]]:
        """Show a bar of bytes while the block runs, on a terminal; the block says how many are done."""
        console = console_over(tolerant(sys.stderr))
        if self.as_json or not console.is_terminal:
            yield lambda _: None
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        words = TextColumn("{task.description}", markup=False)
        bar = Progress(
            words, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console, transient=True
        )
        with bar:
            task = bar.add_task(printable(label), total=total_bytes, completed=done_bytes)
            yield lambda done: bar.update(task, completed=done)


def console_over(stream: TextIO) -> "Console":
    """A console that takes text as it is: no markup, no emoji, no highlighting."""
    from rich.console import Console

    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def _write(text: str, end: str = "\n") -> None:
    """Write and flush, so that a reader who has gone is noticed here and not at the interpreter's end."""
    stream = tolerant(sys.stdout)
    stream.write(text + end)
    stream.flush()


def replace_closed_streams() -> None:
    """Let what is written to a stdout or stderr that was closed before the start (`>&-`) go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end


def drop_unwritten() -> None:
    """Give up what stdout could not take, so that the interpreter does not fail over it again at its end."""
    with suppress(OSError, ValueError):  # a stream of a test has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def tolerant(stream: TextIO) -> TextIO:
    """The stream, set to replace characters that its encoding lacks."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream


def write_error(text: str) -> None:
    """A line on stderr, free of control characters."""
    tolerant(sys.stderr).write(printable(text) + "\n")


def error_text(error: ServiceError | ApiProblem) -> str:
    """An error for a reader: its code, what to change, and each field that is wrong."""
    fields = (f"\n  {field.pointer}: {field.detail} [{field.code}]" for field in error.errors)
    name_it = ""
    if isinstance(error, ApiProblem) and error.status >= 500 and error.request_id:
        name_it = f"\n  The service's log has it as request {error.request_id}."
    return f"error: {error.detail} [{error.code}]{''.join(fields)}{name_it}"


def printable(text: str) -> str:
    """The text without what could steer a terminal: control characters but line breaks become a dot."""
    return "".join(char if char == "\n" or not _steers(char) else "\u00b7" for char in text)


def _steers(char: str) -> bool:
    bidirectional = "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or bidirectional
