"""Thrift's compact protocol, without a schema: enough to move the offsets in Parquet's footer and change nothing else.

Source: thrift/doc/specs/thrift-compact-protocol.md (Apache Thrift).
"""

from collections.abc import Callable
from typing import Any, Final

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
INTEGERS: Final = (I16, I32, I64)
MOST_DEPTH: Final = 64

# A struct is {field id: (type, value)}, a list (type of its elements, values), a map (type, type, pairs).
Struct = dict[int, tuple[int, Any]]


class ThriftInvalid(Exception):
    """The bytes are not valid in the compact protocol."""


class _Input:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def struct(self, depth: int = 0) -> Struct:
        if depth > MOST_DEPTH:
            raise ThriftInvalid
        fields: Struct = {}
        number = 0
        while header := self.byte():
            kind, step = header & 0x0F, header >> 4
            number = number + step if step else self.integer()
            fields[number] = (kind, kind == TRUE if kind in (TRUE, FALSE) else self.value(kind, depth))
        return fields

    def value(self, kind: int, depth: int) -> Any:
        if kind not in READERS:
            raise ThriftInvalid
        return READERS[kind](self, depth)

    def sequence(self, depth: int) -> tuple[int, list[Any]]:
        header = self.byte()
        size = header >> 4 if header >> 4 != 15 else self.varint()
        return header & 0x0F, [self.value(header & 0x0F, depth + 1) for _ in range(size)]

    def mapping(self, depth: int) -> tuple[int, int, list[tuple[Any, Any]]]:
        size = self.varint()
        if not size:
            return 0, 0, []
        kinds = self.byte()
        key, value = kinds >> 4, kinds & 0x0F
        return key, value, [(self.value(key, depth + 1), self.value(value, depth + 1)) for _ in range(size)]

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        taken = self._content[self._position : self._position + size]
        if len(taken) != size:
            raise ThriftInvalid
        self._position += size
        return taken

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def integer(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)


READERS: Final[dict[int, Callable[[_Input, int], Any]]] = {
    TRUE: lambda source, _: source.byte() == TRUE,  # only within lists: a byte of its own
    FALSE: lambda source, _: source.byte() == TRUE,
    BYTE: lambda source, _: source.byte(),
    I16: lambda source, _: source.integer(),
    I32: lambda source, _: source.integer(),
    I64: lambda source, _: source.integer(),
    DOUBLE: lambda source, _: source.take(8),
    BINARY: lambda source, _: source.take(source.varint()),
    LIST: lambda source, depth: source.sequence(depth),
    SET: lambda source, depth: source.sequence(depth),
    MAP: lambda source, depth: source.mapping(depth),
    STRUCT: lambda source, depth: source.struct(depth + 1),
}


def read_struct(content: bytes) -> Struct:
    """The struct that `content` begins with. Raises ThriftInvalid."""
    return _Input(content).struct()


def written_struct(fields: Struct) -> bytes:
    """A struct as bytes."""
    output = bytearray()
    _write_struct(fields, output)
    return bytes(output)


def _write_struct(fields: Struct, output: bytearray) -> None:
    before = 0
    for number, (kind, value) in sorted(fields.items()):
        marked = (TRUE if value else FALSE) if kind in (TRUE, FALSE) else kind
        step = number - before
        if 0 < step <= 15:
            output.append(step << 4 | marked)
        else:
            output.append(marked)
            _write_integer(number, output)
        if kind not in (TRUE, FALSE):
            _write(kind, value, output)
        before = number
    output.append(0)


def _write(kind: int, value: Any, output: bytearray) -> None:
    if kind in INTEGERS:
        _write_integer(value, output)
    elif kind in (TRUE, FALSE):
        output.append(TRUE if value else FALSE)
    elif kind == BYTE:
        output.append(value)
    elif kind == DOUBLE:
        output += value
    elif kind == BINARY:
        _write_varint(len(value), output)
        output += value
    elif kind in (LIST, SET):
        _write_list(value[0], value[1], output)
    elif kind == MAP:
        _write_map(value[0], value[1], value[2], output)
    else:
        _write_struct(value, output)


def _write_list(kind: int, values: list[Any], output: bytearray) -> None:
    short = min(len(values), 15)
    output.append(short << 4 | kind)
    if short == 15:
        _write_varint(len(values), output)
    for value in values:
        _write(kind, value, output)


def _write_map(key_kind: int, value_kind: int, pairs: list[tuple[Any, Any]], output: bytearray) -> None:
    _write_varint(len(pairs), output)
    if pairs:
        output.append(key_kind << 4 | value_kind)
    for key, value in pairs:
        _write(key_kind, key, output)
        _write(value_kind, value, output)


def _write_integer(value: int, output: bytearray) -> None:
    _write_varint(value << 1 if value >= 0 else (-value << 1) - 1, output)


def _write_varint(value: int, output: bytearray) -> None:
    while value >= 0x80:
        output.append(value & 0x7F | 0x80)
        value >>= 7
    output.append(value)
