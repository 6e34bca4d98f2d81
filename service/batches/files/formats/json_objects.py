"""Lines of NDJSON read one by one as Python objects: those that Arrow refuses, and those that decide how a file is read."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from models.field_codes import FieldCode
from models.pipelines import FieldFault, pointer_to
from models.pipelines.columns import FaultFinder, NumberColumn
from models.strict_json import JsonInvalid, read_json_line
from service.batches.files import problems
from service.batches.files.blocks import RowBlock
from service.batches.files.formats.carrying import id_faults, record_batch
from service.batches.files.formats.json_kinds import carried_array, is_id, written_id
from service.batches.files.layouts import Layout, Wanted

CUSTOM_ID, INPUT = "custom_id", "input"
KINDS_NAMED: Final = 1000
UNNAMED: Final[Mapping[str, FieldFault]] = {
    FieldCode.UNKNOWN_FIELD: problems.TOO_MANY_FAULTS,
    FieldCode.INVALID_JSON: problems.INVALID_JSON,
}
FLOAT_MAX: Final = float(np.finfo(np.float64).max)

UnknownFields = Callable[[dict[object, object]], list[FieldFault]]


def nests_input(line: Mapping[str, object], wanted: Wanted) -> bool:
    """Whether a line is `{custom_id, input}`, its input apart from what is carried."""
    if INPUT not in line or not wanted.takes_rows:
        return False
    if INPUT in (*wanted.field_names, *wanted.carried, *wanted.ignore):
        return False
    return isinstance(line[INPUT], dict) or CUSTOM_ID in line


def parsed_line(line: bytes) -> object:
    """The value of a line; None when it is no JSON by the rule of strict_json, and for null."""
    try:
        return read_json_line(line)
    except JsonInvalid:
        return None


def loosely_parsed(line: bytes) -> object:
    """The value of a line, parsed leniently where strict_json refuses it; None where it is no JSON."""
    try:
        return json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class ObjectBlock:
    """Reads a few lines of one layout. `unknown_fields`: see ndjson.NdjsonReader."""

    layout: Layout
    unknown_fields: UnknownFields | None

    def read(self, lines: Sequence[bytes]) -> RowBlock:
        """The block of these lines."""
        count, finder = len(lines), FaultFinder()
        unreadable = np.zeros(count, dtype=np.bool_)
        by_value = self.layout.wanted.by_value
        inputs: list[Any] = []
        carried: list[Mapping[str, object]] = []
        broken = np.zeros(count, dtype=np.bool_)
        for row, line in enumerate(lines):
            whole_line = parsed_line(line)
            broken[row] = not isinstance(whole_line, dict)
            outer = whole_line if isinstance(whole_line, dict) else {}
            taken: Any
            taken, fault = self._value(whole_line) if by_value else self._input(whole_line)
            carried.append(self._with_written_id(outer, line))
            inputs.append(taken)
            if fault is problems.INVALID_JSON:
                fault = _named(line)
            if fault is not None:
                unreadable[row] = True
                self._add(finder, row, fault)
            unknown = self._beside(outer) if by_value else self._unknown(outer, taken, readable=fault is None)
            for other in (*self._id(outer), *unknown):
                self._add(finder, row, other)
                broken[row] |= other.code == FieldCode.UNUSABLE_ID
        batch = record_batch(self.layout.carried, self._carried(carried), count)
        finder.add_all(id_faults(batch, self.layout.wanted, broken))
        return RowBlock(
            0,
            count,
            batch,
            ()
            if by_value
            else tuple(_number_column(name, inputs) for name in self.layout.wanted.field_names),
            values=inputs if by_value else (),
            faults=finder.found(),
            unreadable=unreadable,
        )

    def _input(self, line: object) -> tuple[Mapping[str, object], FieldFault | None]:
        """The object that holds the fields, or why there is none."""
        if line is None:
            return {}, problems.INVALID_JSON
        if not isinstance(line, dict):
            return {}, problems.NOT_AN_OBJECT
        if nests_input(line, self.layout.wanted):
            found = line[INPUT]
            return (found, None) if isinstance(found, dict) else ({}, problems.NOT_AN_OBJECT)
        if self.layout.nested and not self._own_fields & line.keys():
            return {}, problems.NOT_AN_OBJECT
        return line, None

    def _value(self, line: object) -> tuple[object, FieldFault | None]:
        """The input of a line, whatever it is, for the pipeline to judge; or why there is none."""
        wanted = self.layout.wanted
        if line is None:
            return None, problems.INVALID_JSON
        if not isinstance(line, dict):
            return None, problems.LINE_NOT_AN_OBJECT
        if nests_input(line, wanted):
            return line[INPUT], None
        if self.layout.nested and not self._own_fields & line.keys():
            return None, problems.LINE_WITHOUT_INPUT
        beside = {*wanted.carried, *wanted.ignore} - {*wanted.field_names}
        return {key: value for key, value in line.items() if key not in beside}, None

    @property
    def _own_fields(self) -> set[str]:
        """The fields by which a line without a nested input is recognized."""
        return set(self.layout.wanted.field_names) - set(self.layout.wanted.carried)

    def _id(self, line: Mapping[str, object]) -> list[FieldFault]:
        """What is wrong with the id of a line that has one."""
        name = self.layout.wanted.id_column
        if name is None or line.get(name) is None or is_id(line[name]):
            return []
        return [problems.unusable_id(pointer_to(name))]

    def _with_written_id(self, line: Mapping[str, object], content: bytes) -> Mapping[str, object]:
        name = self.layout.wanted.id_column
        return line if name is None else {**line, name: written_id(line.get(name), name, content)}

    def _unknown(
        self, line: Mapping[str, object], taken: Mapping[str, object], *, readable: bool
    ) -> list[FieldFault]:
        """Keys that are neither fields nor carried."""
        if self.unknown_fields is None:
            return []
        wanted = self.layout.wanted
        carried, fields = wanted.carried, wanted.field_names
        if not nests_input(line, wanted):
            own: dict[object, object] = {
                key: value
                for key, value in taken.items()
                if key in fields or key not in (*carried, *wanted.ignore)
            }
            return self.unknown_fields(own) if readable else []
        inner: dict[object, object] = {key: value for key, value in taken.items() if key not in wanted.ignore}
        return [*(self.unknown_fields(inner) if readable else []), *self._beside(line)]

    def _beside(self, line: Mapping[str, object]) -> list[FieldFault]:
        """Keys beside a nested input that are not carried."""
        wanted = self.layout.wanted
        if not nests_input(line, wanted):
            return []
        beside = {key: None for key in line if key not in (*wanted.carried, *wanted.ignore, INPUT)}
        advice = "This key is neither part of the line nor carried: remove it."
        return [FieldFault(pointer_to(key), FieldCode.UNKNOWN_FIELD, advice) for key in list(beside)[:20]]

    def _carried(self, lines: Sequence[Mapping[str, object]]) -> dict[str, pa.Array]:
        mixed = self.layout.mixed
        return {
            field.name: carried_array(
                [line.get(field.name) for line in lines], field.type, mixed=field.name in mixed
            )
            for field in self.layout.carried
        }

    @staticmethod
    def _add(finder: FaultFinder, row: int, fault: FieldFault) -> None:
        """Add a fault; past a bound, unknown keys and what breaks a line are no longer named."""
        named = fault if finder.kinds < KINDS_NAMED else UNNAMED.get(fault.code, fault)
        finder.add(np.array([row]), named)


def _named(line: bytes) -> FieldFault:
    """Why a line is no JSON object, in the words of a single job's body."""
    try:
        read_json_line(line)
    except JsonInvalid as error:
        return problems.invalid_json(str(error).replace(" at line 1 column ", " at column "))
    return problems.INVALID_JSON  # null


def _number_column(name: str, inputs: Sequence[Mapping[str, object]]) -> NumberColumn:
    """One field of some inputs, by the rules of single inputs."""
    cells = [found.get(name) for found in inputs]
    missing = np.array([cell is None for cell in cells])
    wrong = np.array([isinstance(cell, bool) or not isinstance(cell, int | float | None) for cell in cells])
    values = [
        0.0 if lacks or bad else _as_float(cell)
        for cell, lacks, bad in zip(cells, missing, wrong, strict=True)
    ]
    return NumberColumn(np.array(values), missing if missing.any() else None, wrong if wrong.any() else None)


def _as_float(number: Any) -> float:
    """A number as float64. An integer too large for one is out of every range, not infinite."""
    try:
        return float(number)
    except OverflowError:
        return FLOAT_MAX if number > 0 else -FLOAT_MAX
