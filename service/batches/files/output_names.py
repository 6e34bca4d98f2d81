"""How the output of a batch is written, and the names that its columns have."""

from enum import StrEnum
from typing import Final

from service.batches.files.layouts import Wanted
from service.batches.files.problems import FileProblem, FileRefused

ROW: Final = "row"
TAKEN: Final = frozenset(
    (
        ROW,
        "label",
        "display",
        "code_system",
        "code",
        "threshold",
        "abstained",
        "abstain_reason",
        "column",
        "message",
    )
)
TAKEN_PREFIX: Final = "probability_"


class OutputFormat(StrEnum):
    """How results and errors are written."""

    NDJSON = "ndjson"
    PARQUET = "parquet"
    CSV = "csv"


def check_names(wanted: Wanted) -> None:
    """Raises FileRefused where a carried column has the name of one of the output's own columns."""
    own = {ROW, "column", "code", "message", *wanted.taken} if wanted.taken else TAKEN
    prefixes = () if wanted.taken else (TAKEN_PREFIX,)
    if taken := [name for name in wanted.carried if name in own or name.startswith(prefixes)]:
        raise FileRefused(
            FileProblem.COLUMN_TAKEN,
            f"The output has a column {taken[0]} of its own: rename the one to carry.",
        )
