"""Files and results that golden.json holds as parts of an input, as the bytes that scoring gets."""

import base64
import binascii
from typing import Any, Final

from models.field_codes import FieldCode
from models.pipelines import (
    FieldFault,
    InputRejected,
    Part,
    PartKind,
    Pipeline,
    PredictionInvalid,
    pointer_to,
    result_json,
)
from models.pipelines.parts import FileChecker, ResultFault, result_fault

_FORMS: Final = {
    PartKind.FILE: 'give the file as {"data": base64}',
    PartKind.RESULT: 'give a result as {"result": {...}}, as another model answers it',
}


def file_bytes(value: Any) -> object:
    """The bytes of {"data": base64}; anything else as it is, for the pipeline to refuse."""
    if isinstance(value, dict) and isinstance(value.get("data"), str):
        try:
            return base64.b64decode(value["data"], validate=True)
        except binascii.Error:
            return value
    return value


def golden_part(pipeline: Pipeline, name: str, value: object) -> bytes:
    """What scoring gets for a part of a case. Raises InputRejected."""
    part = pipeline.parts[name]
    found = file_bytes(value) if part.kind is PartKind.FILE else _result(value)
    if not isinstance(found, bytes):
        raise InputRejected(FieldFault(pointer_to(name), FieldCode.WRONG_TYPE, _FORMS[part.kind]))
    if part.kind is PartKind.RESULT and isinstance(value, dict):
        _check_result(part, name, value["result"])
    if part.kind is PartKind.FILE and isinstance(pipeline, FileChecker):
        _check_file(pipeline, name, found)
    return found


def _check_result(part: Part, name: str, result: dict[str, object]) -> None:
    fault = result_fault(part, result)
    if fault is ResultFault.TYPE:
        words = f"give a result whose type is {' or '.join(part.types)}"
        raise InputRejected(FieldFault(pointer_to(name, "result", "type"), FieldCode.NOT_ALLOWED, words))
    if fault is not None:
        words = f"give a result whose model did not abstain: {fault}"
        raise InputRejected(FieldFault(pointer_to(name, "result", "abstained"), FieldCode.NOT_ALLOWED, words))


def _check_file(pipeline: FileChecker, name: str, content: bytes) -> None:
    try:
        pipeline.check_file(name, content)
    except InputRejected as error:
        inside = pointer_to(name)
        raise InputRejected(
            *(FieldFault(f"{inside}{fault.pointer}", fault.code, fault.detail) for fault in error.faults)
        ) from None


def _result(value: object) -> bytes | None:
    if not isinstance(value, dict) or value.keys() != {"result"} or not isinstance(value["result"], dict):
        return None
    try:
        return result_json(value["result"])
    except PredictionInvalid:
        return None
