"""Faults of a batch's file and of its rows. No message ever quotes a value, a key or a name.

A fault of the file fails the batch in validation; a fault of a row becomes one line of the batch's errors.
"""

from enum import StrEnum
from typing import ClassVar

from models.field_codes import FieldCode
from models.pipelines import FieldFault
from service.problem_codes import BatchProblem, JobProblem


class FileProblem(StrEnum):
    """Why a file is refused."""

    UNREADABLE = "file_unreadable"
    EMPTY = "file_empty"
    NO_ROWS = "no_rows"
    NOT_UTF8 = "not_utf8"
    WRONG_DELIMITER = "wrong_delimiter"
    UNCLOSED_QUOTE = "unclosed_quote"
    HEADER_INVALID = "header_invalid"
    COLUMN_MISSING = "column_missing"
    COLUMN_UNKNOWN = "column_unknown"
    COLUMN_DUPLICATE = "column_duplicate"
    COLUMN_TAKEN = "column_taken"
    COLUMN_UNSUPPORTED = "column_unsupported"
    COMPRESSED = "archive_compressed"
    BOMB = "archive_bomb"
    UNSAFE_NAME = "unsafe_member_name"
    TOO_MANY_MEMBERS = "too_many_members"
    INDEX_INVALID = "index_invalid"
    TOO_LARGE = "file_too_large"
    TOO_COSTLY = "input_too_costly"
    WRONG_FORMAT = "wrong_format"
    MODEL_HAS_PARTS = "model_has_parts"
    GONE = "source_gone"
    CHANGED = "source_changed"
    NOT_ALLOWED = "source_not_allowed"
    MISCOUNTED = "rows_miscounted"


GONE = "The source no longer exists. Restore it, or submit the batch again."


class FileRefused(Exception):
    """The file cannot be scored. `row`, counted from 1, is where the fault was detected, 0 the header; the detail names it."""

    def __init__(self, problem: FileProblem, detail: str, *, row: int | None = None) -> None:
        self.problem = problem
        self.row = row
        place = "Header: " if row == 0 else "" if row is None else f"Row {row}: "
        self.detail = f"{place}{detail}"
        super().__init__(f"{problem}: {self.detail}")


class SourceUnavailable(Exception):
    """The source does not answer at the moment. What has been done so far is kept; try again."""

    code: ClassVar[str] = BatchProblem.SOURCE_UNAVAILABLE.value

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").strip())


# Faults of a row that do not depend on the pipeline. A fault's pointer is the JSON pointer of its column.
ROW_TOO_LARGE = FieldFault(
    "", FieldCode.ROW_TOO_LARGE, "The row is larger than allowed: check where it ends."
)
WRONG_COLUMN_COUNT = FieldFault(
    "", FieldCode.WRONG_COLUMN_COUNT, "The row and the header have different numbers of columns."
)
INVALID_JSON = FieldFault("", FieldCode.INVALID_JSON, "The line is not a JSON object.")
NOT_AN_OBJECT = FieldFault("", FieldCode.NOT_AN_OBJECT, "Send a JSON object with one value per field.")
LINE_NOT_AN_OBJECT = FieldFault("", FieldCode.NOT_AN_OBJECT, "Write one JSON object per line.")
LINE_WITHOUT_INPUT = FieldFault(
    "", FieldCode.MISSING_FIELD, "The line has no `input`: write {custom_id, input} as the others do."
)
MISSING_FILE = FieldFault(
    "", FieldCode.MISSING_FILE, "The index names a file that the archive does not hold."
)
AMBIGUOUS_FILE = FieldFault("", FieldCode.AMBIGUOUS_FILE, "The archive holds several files of this name.")
ENCRYPTED_FILE = FieldFault("", FieldCode.ENCRYPTED_FILE, "The file is encrypted: store it unencrypted.")
DAMAGED_FILE = FieldFault("", FieldCode.DAMAGED_FILE, "This file is damaged or incomplete in the archive.")
UNSUPPORTED_FILE = FieldFault(
    "", FieldCode.UNSUPPORTED_FILE, "The file is a link, or compressed by a method that is not supported."
)
MODEL_FAILED = FieldFault(
    "",
    JobProblem.MODEL_FAILED,
    "The model fails on this input. Check the input; if it is right, tell the model's publisher.",
)
TOO_MANY_FAULTS = FieldFault(
    "", FieldCode.UNKNOWN_FIELD, "The row has fields that the model does not take: remove them."
)


def invalid_json(reason: str) -> FieldFault:
    """The fault of a line that breaks the rule of strict_json, whose `reason` quotes nothing of it."""
    return FieldFault("", FieldCode.INVALID_JSON, f"The line is not valid JSON: {reason}.")


def missing_id(pointer: str) -> FieldFault:
    """The fault of a row without an id."""
    return FieldFault(pointer, FieldCode.MISSING_FIELD, "The id is missing.")


def unusable_id(pointer: str) -> FieldFault:
    """The fault of a row whose id is neither a string nor a finite number."""
    return FieldFault(pointer, FieldCode.UNUSABLE_ID, "An id must be a string or a finite number.")


def text_not_utf8(pointer: str) -> FieldFault:
    """The fault of a row with a text in another encoding."""
    return FieldFault(pointer, FieldCode.NOT_UTF8, "The text is not UTF-8: store it as UTF-8.")


def time_out_of_range(pointer: str) -> FieldFault:
    """The fault of a row with a time that cannot be written."""
    return FieldFault(pointer, FieldCode.OUT_OF_RANGE, "The time must lie between the years 1 and 9999.")


def duplicate_id(pointer: str) -> FieldFault:
    """The fault of a row whose id an earlier row has."""
    return FieldFault(pointer, FieldCode.DUPLICATE_ID, "An earlier row has the same id.")


def duplicate_file(pointer: str) -> FieldFault:
    """The fault of a row whose file has the name of an earlier row's."""
    advice = "An earlier row has a file of the same name: give each file a name of its own."
    return FieldFault(pointer, FieldCode.DUPLICATE_ID, advice)
