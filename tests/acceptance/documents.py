"""The commands that README.md, CONTRIBUTING.md and docs/ show in fenced blocks, as a shell would read them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELLS = {"", "sh", "bash", "shell", "console"}
# What a line of a block begins with when it is a command; other blocks show answers, files and pictures.
WORDS = "make medqueue curl docker systemctl systemd-analyze python python3 pip psql pg_dump pg_restore redis-cli createdb sudo"
WORDS += " promtool journalctl openssl export source eval cat for"
COMMAND = re.compile(rf"(\$ )?((\.venv/bin/|\.ci/)\S+|({'|'.join(WORDS.split())})\b|[A-Z][A-Z0-9_]*=)")


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def shown() -> Iterator[Shown]:
    """Every command of every page, in the reader's order."""
    for page in PAGES:
        content = page.read_text()
        for block in FENCE.finditer(content):
            if block[1] not in SHELLS:
                continue
            first = content.count("\n", 0, block.start(2)) + 1
            for offset, text in _commands(block[2]):
                yield Shown(page.relative_to(ROOT).as_posix(), first + offset, text)


def _commands(block: str) -> Iterator[tuple[int, str]]:
    """The commands of a block, each with its line; one goes on while a quotation is open or its line ends in a backslash."""
    whole, begun = "", 0
    for number, line in enumerate(block.splitlines()):
        if not whole:
            if not COMMAND.match(line):
                continue
            begun = number
        whole += line.removeprefix("$ ") if not whole else f"\n{line}"
        if not _goes_on(whole):
            yield begun, whole
            whole = ""
    assert not whole, f"this command never ends: {whole}"


def _goes_on(text: str) -> bool:
    return text.endswith("\\") or _open_quotation(text)


def _open_quotation(text: str) -> bool:
    quote, escaped = "", False
    for letter in text:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#":
            return False
    return bool(quote)
