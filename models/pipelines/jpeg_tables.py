"""The tables of a JPEG file: quantisation and Huffman codes (ITU-T T.81, B.2.4.1 and B.2.4.2).

libjpeg does not check them: a quantisation step of 0, which T.81 forbids, makes a grey image without a warning, and missing
Huffman tables are replaced by common ones.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from models.pipelines.image_header import damaged

_QUANTISATION, _HUFFMAN, _SCAN = 0xDB, 0xC4, 0xDA
_ENTRIES: Final = 64
_LENGTHS: Final = 16  # of Huffman codes, in bits
_MOST_TABLES: Final = 4
_MOST_DC: Final = 15  # bits of a DC difference
_DC, _AC = 0, 1


def check_tables(
    segments: Iterable[tuple[int, bytes]], used: Mapping[int, int], *, progressive: bool
) -> None:
    """Refuse invalid tables, and scans before the tables that they need. Raises ImageRefused.

    `segments` are markers and bodies in order, `used` is which quantisation table each component of the frame has.
    """
    quantisation: set[int] = set()
    huffman: set[tuple[int, int]] = set()
    for marker, body in segments:
        if marker == _QUANTISATION:
            quantisation |= _quantisation_tables(body)
        elif marker == _HUFFMAN:
            huffman |= _huffman_tables(body)
        elif marker == _SCAN:
            names = body[1 : 1 + 2 * body[0] : 2]
            codes = _codes(body, progressive=progressive)
            if not ({used[name] for name in names} <= quantisation and codes <= huffman):
                raise damaged("a table is missing")


def _codes(scan: bytes, *, progressive: bool) -> set[tuple[int, int]]:
    """The Huffman tables that a scan is read with: class and number."""
    tables = scan[2 : 2 + 2 * scan[0] : 2]
    dc, ac = {(_DC, table >> 4) for table in tables}, {(_AC, table & 0x0F) for table in tables}
    if not progressive:
        return dc | ac
    first, _, bits = scan[-3:]
    if first:
        return ac
    return set() if bits >> 4 else dc  # bits of DC that come later are not coded


def _quantisation_tables(body: bytes) -> set[int]:
    """The numbers of the tables that a segment defines."""
    found = set()
    while body:
        width, number = (body[0] >> 4) + 1, body[0] & 0x0F
        table = body[1 : 1 + width * _ENTRIES]
        if width > 2 or number >= _MOST_TABLES or len(table) != width * _ENTRIES:
            raise damaged("a quantisation table without meaning")
        if any(int.from_bytes(table[at : at + width], "big") == 0 for at in range(0, len(table), width)):
            raise damaged("a quantisation table without meaning")
        found.add(number)
        body = body[1 + len(table) :]
    return found


def _huffman_tables(body: bytes) -> set[tuple[int, int]]:
    """Class and number of the tables that a segment defines."""
    found = set()
    while body:
        kind, number = body[0] >> 4, body[0] & 0x0F
        counts = body[1 : 1 + _LENGTHS]
        values = body[1 + _LENGTHS : 1 + _LENGTHS + sum(counts)]
        if kind not in (_DC, _AC) or number >= _MOST_TABLES or not _is_code(counts, values):
            raise damaged("a Huffman table without meaning")
        if kind == _DC and max(values, default=0) > _MOST_DC:
            raise damaged("a Huffman table without meaning")
        found.add((kind, number))
        body = body[1 + _LENGTHS + len(values) :]
    return found


def _is_code(counts: bytes, values: bytes) -> bool:
    """Whether there are as many codes of each length as can be, and each stands for a value of its own."""
    whole = len(counts) == _LENGTHS and len(values) == sum(counts) == len(set(values))
    space = sum(count << (_LENGTHS - length) for length, count in enumerate(counts, 1))
    return whole and space <= 1 << _LENGTHS
