"""Why rows of a batch failed, in a line: the codes in its file of errors with the numbers of rows, and the first message."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.strict_json import read_json
from service.cli.batches.downloads import wanted_of
from service.cli.downloads import to_file
from service.cli.errors import ApiProblem
from service.cli.tables import FEW
from service.errors import ServiceError
from service.lifecycle import BatchState

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

MOST_BYTES = 16 * 1024 * 1024  # of a file of errors that is fetched for this line alone


def reasons(api: ApiClient, out: Output, view: Json, kept: Path | None = None) -> str:
    """The line about a completed batch; empty without errors, of a large file, or if it cannot be fetched.

    `kept` is its file of errors where that was fetched before.
    """
    told, form = view["errors"], view["output"]["format"]
    if view["state"] != BatchState.COMPLETED or told is None or (told.get("size_bytes") or 0) > MOST_BYTES:
        return ""
    if kept is not None:
        return in_words(lines(kept, form))
    with tempfile.TemporaryDirectory(prefix="medqueue-errors-") as folder:
        path = Path(folder, "errors")
        try:
            to_file(api, out, wanted_of(view, "errors"), path)
        except (ServiceError, ApiProblem) as fault:
            out.note(f"The errors could not be fetched: {fault}")
            return ""
        return in_words(lines(path, form))


def lines(path: Path, form: str) -> Iterator[Json]:
    """The faults in a file of errors, in any format of output."""
    if form == "parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(path).to_pylist()
    elif form == "csv":
        with path.open(newline="", encoding="utf-8") as cells:
            yield from csv.DictReader(cells)
    else:
        with path.open("rb") as content:
            for line in content:
                found: Any = read_json(line)
                yield found


def in_words(faults: Iterable[Json]) -> str:
    """Such as `missing_field in 3 rows, out_of_range in 1 row. Row 2, radius_mean: Send it.`; empty without faults.

    The most frequent codes come first. A row with two codes counts for both; messages of the service hold no values.
    """
    rows: dict[str, set[str]] = {}
    first = ""
    for fault in faults:
        rows.setdefault(str(fault["code"]), set()).add(str(fault["row"]))
        where = f"Row {fault['row']}" + (f", {fault['column']}" if fault.get("column") else "")
        first = first or f"{where}: {fault['message']}"
    ranked = sorted(rows.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    told = [f"{code} in {len(each):,} row{'s' if len(each) > 1 else ''}" for code, each in ranked[:FEW]]
    more = [f"{len(ranked) - FEW} more codes"] if len(ranked) > FEW else []
    return f"{', '.join([*told, *more])}. {first}" if told else ""
