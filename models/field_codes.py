"""The codes of what is wrong with one field of a request, one input or one row. Standard library only.

docs/api.md says what each means. Their texts never change: programs test for them.
"""

from enum import StrEnum
from typing import NewType


class FieldCode(StrEnum):
    """What is wrong with a field, an input or a row."""

    # Any field.
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_OPTION = "unknown_option"
    WRONG_TYPE = "wrong_type"
    WRONG_FORMAT = "wrong_format"
    NOT_AN_OBJECT = "not_an_object"
    NOT_ALLOWED = "not_allowed"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    INVALID_VALUE = "invalid_value"

    # A request.
    DOUBLED = "doubled"
    NAMED_TWICE = "named_twice"
    NAME_TAKEN = "name_taken"
    TOO_LATE = "too_late"
    PAST_DEADLINE = "past_deadline"
    PREDECESSOR_UNFIT = "predecessor_unfit"
    CHAIN_TOO_LONG = "chain_too_long"
    RESULT_UNFIT = "result_unfit"
    OTHER_SUBJECT = "other_subject"
    EXPLAIN_UNSUPPORTED = "explain_unsupported"
    ONLY_OF_CSV = "only_of_csv"
    ONLY_OF_ARCHIVES = "only_of_archives"

    # A whole input.
    INPUT_UNFIT = "input_unfit"
    INPUT_INVALID = "input_invalid"
    NOT_JSON = "not_json"
    NOT_BASE64 = "not_base64"
    NOT_A_UUID = "not_a_uuid"
    FILE_TOO_LARGE = "file_too_large"
    INPUT_TOO_COSTLY = "input_too_costly"
    STORED_INPUT_DAMAGED = "stored_input_damaged"
    STORED_INPUT_CODEC = "stored_input_codec"

    # An image.
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED_IMAGE = "damaged_image"
    TRUNCATED_IMAGE = "truncated_image"
    ANIMATED_IMAGE = "animated_image"
    TRANSPARENT_IMAGE = "transparent_image"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SMALL = "image_too_small"
    WRONG_PROPORTIONS = "wrong_proportions"
    UNSUPPORTED_BIT_DEPTH = "unsupported_bit_depth"
    UNSUPPORTED_COLOR = "unsupported_color"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    UNCLEAR_ORIENTATION = "unclear_orientation"
    CONFLICTING_ORIENTATION = "conflicting_orientation"

    # A sequence.
    TOO_AMBIGUOUS = "too_ambiguous"

    # A text.
    BLANK_TEXT = "blank_text"
    UNREADABLE_TEXT = "unreadable_text"
    WRONG_SCRIPT = "wrong_script"

    # A signal.
    FLAT_SIGNAL = "flat_signal"

    # A series.
    OUT_OF_ORDER = "out_of_order"

    # A molecule.
    INVALID_SMILES = "invalid_smiles"

    # A row of a batch.
    INVALID_JSON = "invalid_json"
    NOT_UTF8 = "not_utf8"
    ROW_TOO_LARGE = "row_too_large"
    WRONG_COLUMN_COUNT = "wrong_column_count"
    UNUSABLE_ID = "unusable_id"
    DUPLICATE_ID = "duplicate_id"
    MISSING_FILE = "missing_file"
    AMBIGUOUS_FILE = "ambiguous_file"
    ENCRYPTED_FILE = "encrypted_file"
    DAMAGED_FILE = "damaged_file"
    UNSUPPORTED_FILE = "unsupported_file"
    ARTIFACTS_NOT_KEPT = "artifacts_not_kept"


# A code of another set: the author's of a pipeline, pydantic's, or that of a problem with one field or row.
OtherCode = NewType("OtherCode", str)

# What a fault has. A plain text is none, so that mypy finds a misspelled code.
Code = StrEnum | OtherCode
