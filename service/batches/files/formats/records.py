"""Where the records of a text file end: read as a stream and found by numpy, so that Python's work is per block, not
per byte.

Owns line ends, quotes of CSV (RFC 4180), encoding and the limit on a record. Independent of the content of records.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.batches.files.plans import ByteRange, Chunk, Limits
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import Seen, not_looked_at, read_blocks

QUOTE, LINE_FEED, CARRIAGE_RETURN = 0x22, 0x0A, 0x0D
UTF8_MARK = b"\xef\xbb\xbf"
OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
LOOKED_AT_BYTES = 4096
UNPACK = "The file is compressed ({}): unpack it, and send the text."
# First bytes of files that are no text, and what to do about each.
NO_TEXTS = tuple(
    (re.compile(begin, re.DOTALL), what)
    for begin, what in (
        (rb"\x1f\x8b", UNPACK.format("gzip")),
        (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", UNPACK.format("bzip2")),
        (rb"\xfd7zXZ\0", UNPACK.format("xz")),
        (rb"[\x22-\x28]\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", UNPACK.format("Zstandard")),
        (rb"\x04\x22\x4d\x18", UNPACK.format("LZ4")),
        (rb"\xff\x06\0\0sNaPpY", UNPACK.format("Snappy")),
        (rb"\x1f[\x9d\xa0]", UNPACK.format("compress")),
        (rb"7z\xbc\xaf\x27\x1c", UNPACK.format("7-Zip")),
        (rb"Rar!\x1a\x07", UNPACK.format("RAR")),
        (
            rb"PK(\x03\x04|\x05\x06|\x07\x08)",
            "The file is a ZIP, or a workbook such as .xlsx: unpack it, or export it.",
        ),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "The file is a workbook of Excel: export it as CSV in UTF-8."),
        (rb"PAR[1E]", "The file is Parquet: give that as its format."),
        (rb"ARROW1\0\0", "The file is binary and no text: export it as Parquet or as text."),
        (rb".{257}ustar[\0 ]", "The file is a TAR: unpack it, and send the text."),
    )
)

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Records:
    """Consecutive records: record i is `content[starts[i]:ends[i]]`, its line end included; blank lines are left out.

    `offset` is where `content` begins in the file. `oversized`: the one record is too large and `content` is empty;
    it ends at `end`.
    """

    offset: int
    content: bytes
    starts: Places
    ends: Places
    end: int
    oversized: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    def without_first(self) -> "Records":
        """The same but for the first record."""
        return replace(self, starts=self.starts[1:], ends=self.ends[1:])

    def bytes_of(self, first: int, end: int) -> bytes:
        """Records `first` to `end`, and the blank lines between them."""
        return self.content[self.starts[first] : self.ends[end - 1]]


class Grammar:
    """How records end: by lines, or by lines outside of quotes where there is a delimiter."""

    def __init__(self, delimiter: str | None = None) -> None:
        self._quoted = delimiter is not None
        between = (delimiter or ",").encode()
        mark = re.escape(between)
        self._mark = between[0]
        self.blank = b"\r\n" if delimiter is not None else b" \t\r\n"
        field = rb'(?:"(?:[^"]|"")*+"[^%b\r\n]*+|[^"%b\r\n][^%b\r\n]*+|)' % (mark, mark, mark)
        self._record = re.compile(rb"%b(?:%b%b)*+(?:\r\n|\n|\r(?!\n))" % (field, mark, field))
        self.field = re.compile(field)

    def ends(self, content: bytes) -> tuple[Places, bool]:
        """Where the whole records of `content` end, and whether a quote is open behind them.

        `content` begins outside of quotes. A record that ends with its last byte counts only after a line feed.
        """
        values = np.frombuffer(content, np.uint8)
        feeds = values == LINE_FEED
        if self._quoted and b"\r" in content:
            returns = values == CARRIAGE_RETURN
            returns[:-1] &= ~feeds[1:]
            returns[-1:] = False
            feeds |= returns
        if not self._quoted or b'"' not in content:
            return np.flatnonzero(feeds) + 1, False
        quotes = np.flatnonzero(values == QUOTE)
        if not self._are_plain(values, quotes):
            return self._ends_one_by_one(content)
        inside = np.searchsorted(quotes, places := np.flatnonzero(feeds)) & 1
        return places[inside == 0] + 1, bool(len(quotes) & 1)

    def _are_plain(self, values: NDArray[np.uint8], quotes: Places) -> bool:
        """Whether every quote opens at a field's start and closes at its end, so that counting them suffices."""
        openings, closings = quotes[0::2], quotes[1::2]
        borders = np.array([QUOTE, LINE_FEED, CARRIAGE_RETURN, self._mark], np.uint8)
        before = values[openings[openings > 0] - 1]
        after = values[closings[closings < len(values) - 1] + 1]
        return bool(np.isin(before, borders).all() and np.isin(after, borders).all())

    def _ends_one_by_one(self, content: bytes) -> tuple[Places, bool]:
        """The same for quotes within fields: they mean nothing there."""
        found, position = [], 0
        while (record := self._record.match(content, position)) is not None:
            position = record.end()
            found.append(position)
        # What is left is a record if the file ends here; otherwise a quote is open.
        rest_is_open = self._record.match(content[position:] + b"\n") is None
        if found and content[found[-1] - 1] == CARRIAGE_RETURN and found[-1] == len(content):
            found.pop()  # a line feed may follow
        return np.array(found, np.int64), rest_is_open


def scan(
    file: io.RawIOBase,
    grammar: Grammar,
    limits: Limits,
    *,
    start: int,
    row: int = 1,
    seen: Seen = not_looked_at,
) -> Iterator[Records]:
    """The records of a file from byte `start` on, the first of them number `row`.

    Memory stays at a block and a record. `seen` is called with every block read. Raises FileRefused for text that is
    not UTF-8 and for a quote that never closes.
    """
    offset, tail = start, b""
    file.seek(start)
    blocks = read_blocks(file, seen)
    for block in blocks:
        content = tail + block
        ends, is_open = grammar.ends(content)
        if len(ends):
            records = records_of(content[: ends[-1]], ends, grammar, offset=offset, row=row)
            row += len(records)
            yield records
            tail, offset = content[ends[-1] :], offset + int(ends[-1])
        else:
            tail = content
        if len(tail) > limits.row_bytes:
            if is_open:
                raise _unclosed(row)
            oversized, tail = _skip(blocks, tail, offset)
            row, offset = row + 1, oversized.end
            yield oversized
    if tail:
        yield from _last(tail, grammar, offset, row)


def _last(tail: bytes, grammar: Grammar, offset: int, row: int) -> Iterator[Records]:
    """The records that the file ends with; the last may have no line end."""
    ends, is_open = grammar.ends(tail if tail.endswith(b"\n") else tail + b"\n")
    if is_open:
        raise _unclosed(row)
    yield records_of(tail, np.minimum(ends, len(tail)), grammar, offset=offset, row=row)


def _unclosed(row: int) -> FileRefused:
    return FileRefused(FileProblem.UNCLOSED_QUOTE, "A quote opens here and never closes.", row=row)


def _skip(blocks: Iterator[bytes], tail: bytes, offset: int) -> tuple[Records, bytes]:
    """Skip to the end of a line that is too large; what follows it in its last block."""
    end = offset + len(tail)
    nothing = np.empty(0, np.int64)
    for block in blocks:
        place = block.find(b"\n") + 1
        if place:
            return Records(offset, b"", nothing, nothing, end + place, oversized=True), block[place:]
        end += len(block)
    return Records(offset, b"", nothing, nothing, end, oversized=True), b""


def records_of(content: bytes, ends: Places, grammar: Grammar, *, offset: int = 0, row: int = 1) -> Records:
    """The records of `content` given where they end. Raises FileRefused when it is not UTF-8."""
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    values = np.frombuffer(content, np.uint8)
    # Blank lines begin with white space: few lines do, and those are checked.
    dubious = np.flatnonzero(values[starts] <= 0x20)
    if len(dubious):
        blank = [index for index in dubious if not content[starts[index] : ends[index]].strip(grammar.blank)]
        starts, ends = np.delete(starts, blank), np.delete(ends, blank)
    _check_encoding(content, ends, row)
    return Records(offset, content, starts, ends, offset + len(content))


def _check_encoding(content: bytes, ends: Places, row: int) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        wrong = row + int(np.searchsorted(ends, error.start, side="right"))
    else:
        return
    raise FileRefused(
        FileProblem.NOT_UTF8, "The text is not UTF-8 from here on: export the file as UTF-8.", row=wrong
    )


def all_records(content: bytes, grammar: Grammar) -> Records:
    """The records of a chunk, which ends where a record ends."""
    ends, _ = grammar.ends(content if content.endswith(b"\n") else content + b"\n")
    return records_of(content, np.minimum(ends, len(content)), grammar)


def text_start(file: io.RawIOBase) -> int:
    """Where the text begins: behind a byte order mark. Raises FileRefused when it is empty or of another encoding."""
    file.seek(0)
    top = file.read(LOOKED_AT_BYTES) or b""
    if not top:
        raise FileRefused(FileProblem.EMPTY, "The file is empty.")
    for mark, what in NO_TEXTS:
        if mark.match(top):
            raise FileRefused(FileProblem.WRONG_FORMAT, what)
    if top.startswith(OTHER_MARKS) or _is_wide(top):
        raise FileRefused(
            FileProblem.NOT_UTF8, "The file is UTF-16 or UTF-32, with a mark or without: export it as UTF-8."
        )
    return len(UTF8_MARK) if top.startswith(UTF8_MARK) else 0


def _is_wide(top: bytes) -> bool:
    """Whether a text has two or four bytes a letter: then every other byte is mostly zero, and the others are not."""
    even, odd = top[0::2], top[1::2]
    shares = sorted(half.count(0) / max(1, len(half)) for half in (even, odd))
    return shares[1] >= 0.4 and shares[1] - shares[0] >= 0.3


class ChunkCutter:
    """Cuts a run of records into chunks; a record that is too large stands alone."""

    def __init__(self, limits: Limits, start: int) -> None:
        self._limits = limits
        self._start = start
        self._end = start
        self._held = 0
        self.rows = 0
        self.chunks: list[Chunk] = []

    def add(self, records: Records) -> None:
        """The next records of the file."""
        if records.oversized:
            self._close()
            self._held, self._end = 1, records.end
            self._close(oversized=True)
            return
        ends = records.ends + records.offset
        done = 0
        while done < len(ends):
            fitting = int(np.searchsorted(ends, self._start + self._limits.size_bytes, side="right")) - done
            count = min(
                len(ends) - done, self._limits.rows - self._held, max(fitting, 0 if self._held else 1)
            )
            if count > 0:
                self._held += count
                done += count
                self._end = int(ends[done - 1])
            if count <= 0 or self._held == self._limits.rows:
                self._close()

    @property
    def next_row(self) -> int:
        """The number of the next row."""
        return self.rows + self._held + 1

    def finish(self) -> tuple[Chunk, ...]:
        """All chunks."""
        self._close()
        return tuple(self.chunks)

    def _close(self, *, oversized: bool = False) -> None:
        if self._held:
            place = ByteRange(self._start, self._end, oversized)
            self.chunks.append(Chunk(len(self.chunks), self.rows + 1, self._held, place))
            self.rows += self._held
        self._start, self._held = self._end, 0
