"""Has the service score labelled cases, as jobs or a batch. Answers are flat, as in results of batches."""

from __future__ import annotations

import re
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.strict_json import read_json
from service.cli.batches import watching
from service.cli.batches.downloads import wanted_of
from service.cli.batches.sources import upload_file
from service.cli.batches.tables import unused_columns
from service.cli.bodies import json_bytes
from service.cli.cases import FileCase
from service.cli.downloads import to_file
from service.cli.errors import ApiProblem
from service.cli.evaluation.labelled import Labelled, Note
from service.cli.submit import repeated_if_lost
from service.cli.waiting import until_ended
from service.lifecycle import BatchState, JobState

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

AT_ONCE = 200  # jobs that are submitted before the first of them is waited for
BYTES_AT_ONCE = 4 * 1024 * 1024  # of their inputs, but for one that is larger: a body may have 16 MiB
PLACE = "custom_id"
COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")


@dataclass(frozen=True)
class Scored:
    """A labelled case with its answer, or with the code and the detail of the problem that it ended with.

    Details come from the service, which repeats no values of inputs. `input` is that of a line of JSON, of which the page
    may show a part.
    """

    place: str
    truth: Any
    groups: Mapping[str, str]
    answer: Mapping[str, Any] | None
    problem: str = ""
    source: FileCase | None = None  # of which the page shows a picture
    detail: str = ""
    input: Any = None


def by_jobs(
    api: ApiClient, out: Output, request: Json, cases: Sequence[Labelled], wait_s: float
) -> list[Scored]:
    """Each case as a job of its own. A case that is refused or fails has a problem. Raises what the client raises."""
    scored: list[Scored] = []
    with out.waiting(f"scoring {len(cases)} cases") as label:
        for some in _parts(api, cases):
            answers = api.submit_bulk([{**request, "input": value} for _, value in some], str(uuid.uuid4()))
            for (case, _), answer in zip(some, answers, strict=True):
                scored.append(_of_job(api, case, answer, wait_s))
                label(f"{len(scored)} of {len(cases)} cases have ended")
    return scored


def _parts(api: ApiClient, cases: Sequence[Labelled]) -> Iterator[list[tuple[Labelled, Any]]]:
    """Cases with their inputs, as many together as are submitted in one body."""
    part: list[tuple[Labelled, Any]] = []
    size = 0
    for case in cases:
        value = _input(api, case)
        more = len(json_bytes(value))
        if part and (len(part) == AT_ONCE or size + more > BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append((case, value))
        size += more
    if part:
        yield part


def _input(api: ApiClient, case: Labelled) -> Any:
    if not isinstance(case.input, FileCase):
        return case.input
    if case.input.inline:
        return case.input.encoded()
    with case.input.open() as opened:
        return {"upload_id": api.upload(opened)}


def _of_job(api: ApiClient, case: Labelled, answer: Json, wait_s: float) -> Scored:
    """A case with the answer of its job; `answer` is the accepted job, or a problem."""
    if "state" not in answer:
        return _without(case, answer, "refused")
    job = until_ended(api, answer["id"], wait_s)
    if job["state"] == JobState.SUCCEEDED:
        return _answered(case, dict(flat(job["result"])))
    return _without(case, job.get("problem") or {}, job["state"])


def _answered(case: Labelled, answer: Mapping[str, Any]) -> Scored:
    source = _source(case)
    given = case.input if source is None else None
    return Scored(case.place, case.truth, case.groups, answer, source=source, input=given)


def _without(case: Labelled, problem: Json, otherwise: str) -> Scored:
    """A case that ended with a problem, or with a fault of its row; `otherwise` is the code of one that has none."""
    code = str(problem.get("code", otherwise))
    return Scored(case.place, case.truth, case.groups, None, code, _source(case), _detail(problem))


def _detail(problem: Json) -> str:
    """What is wrong, after the field where one is named: the first of several."""
    if "message" in problem:
        where, detail = problem.get("column"), problem["message"]
    else:
        first = next(iter(problem.get("errors") or ()), problem)
        where, detail = first.get("pointer"), first.get("detail", "")
    return f"{where}: {detail}" if where else str(detail)


def _source(case: Labelled) -> FileCase | None:
    return case.input if isinstance(case.input, FileCase) else None


def flat(result: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, Any]]:
    """A result as the columns of a file of results: objects as `outer_inner`, probabilities as `probability_<label>`."""
    for name, value in result.items():
        if isinstance(value, dict):
            inner = "probability" if name == "probabilities" and not outer else f"{outer}{name}"
            yield from flat(value, f"{inner}_")
        else:
            yield f"{outer}{name}", value


def by_batch(
    api: ApiClient, out: Output, request: Json, cases: Sequence[Labelled], note: Note
) -> list[Scored]:
    """All cases in one file: NDJSON, or a ZIP archive of files."""
    with tempfile.TemporaryDirectory(prefix="medqueue-evaluate-") as folder:
        archive = isinstance(cases[0].input, FileCase)
        path = Path(folder, "cases.zip" if archive else "cases.ndjson")
        key = "file" if archive else PLACE
        if archive:
            _write_archive(path, cases)
        else:
            _write_lines(path, cases)
        rows = _rows(api, out, {**request, "format": "zip" if archive else "ndjson"}, path, note)
        found = {str(row[key]): row for row in rows}
    return [_of_row(case, found.get(_name(number, archive=archive))) for number, case in enumerate(cases)]


def _name(number: int, *, archive: bool) -> str:
    return f"{number:08}" if archive else str(number)


def _write_lines(path: Path, cases: Sequence[Labelled]) -> None:
    with path.open("wb") as file:
        for number, case in enumerate(cases):
            file.write(json_bytes({PLACE: _name(number, archive=False), "input": case.input}) + b"\n")


def _write_archive(path: Path, cases: Sequence[Labelled]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, case in enumerate(cases):
            assert isinstance(case.input, FileCase)
            with case.input.open() as opened:
                archive.writestr(_name(number, archive=True), opened.read())


def _of_row(case: Labelled, row: Json | None) -> Scored:
    if row is None or _is_fault(row):
        return _without(case, row or {}, "missing_from_results")
    return _answered(case, row)


def of_table(
    api: ApiClient,
    out: Output,
    request: Json,
    path: Path,
    *,
    truth: str | Mapping[str, str],
    groups: Sequence[str],
    note: Note,
) -> list[Scored]:
    """The rows of a table, of which the columns of truths and groups are carried to the results.

    `truth` is a column, or the columns of the tasks of a model that has several. Fields without a column are named to `note`.
    """
    columns = [truth] if isinstance(truth, str) else truth.values()
    request = {**request, "carry": [*dict.fromkeys([*columns, *groups])]}
    mark = request.get("decimal")

    def told(row: Json) -> Any:
        if isinstance(truth, str):
            return with_point(row.get(truth), mark)
        return {task: with_point(row.get(column), mark) for task, column in truth.items()}

    return [
        Scored(
            f"row {row['row']}",
            told(row),
            {name: str(row.get(name)) for name in groups},
            None if _is_fault(row) else row,
            str(row["code"]) if _is_fault(row) else "",
            detail=_detail(row) if _is_fault(row) else "",
        )
        for row in _rows(api, out, request, path, note)
    ]


def with_point(truth: Any, mark: object) -> Any:
    """A number of a file with the decimal mark `,` as one with a point; what is no number stays."""
    is_number = mark == "," and isinstance(truth, str) and COMMA.fullmatch(truth.strip())
    return truth.replace(",", ".") if is_number else truth


def _is_fault(row: Json) -> bool:
    return "message" in row


def _rows(api: ApiClient, out: Output, request: Json, path: Path, note: Note) -> list[Json]:
    """Submit a file as a batch, wait, and read its results and errors: one line for each row, in order."""
    key = str(uuid.uuid4())
    body = {**request, "source": upload_file(api, out, path), "output": {"format": "ndjson"}}
    accepted = repeated_if_lost(lambda: api.submit_batch(body, key))
    with watching.showing(out) as tell:
        view = watching.until_ended(api, accepted["id"], tell=tell, note=out.note)
    if view["state"] != BatchState.COMPLETED:
        problem = view.get("problem") or {}
        raise ApiProblem(
            422,
            str(problem.get("code", view["state"])),
            str(problem.get("detail", "The batch did not complete.")),
        )
    if unused := unused_columns(view):
        note(unused)
    with tempfile.TemporaryDirectory(prefix="medqueue-evaluate-") as folder:
        lines = [
            line
            for kind in ("results", "errors")
            if view[kind] is not None
            for line in _lines(api, out, view, kind, Path(folder))
        ]
    first: dict[int, Json] = {}
    for line in lines:
        first.setdefault(int(line["row"]), line)
    return [first[row] for row in sorted(first)]


def _lines(api: ApiClient, out: Output, view: Json, kind: str, folder: Path) -> Iterable[Json]:
    path = folder / kind
    to_file(api, out, wanted_of(view, kind), path)
    with path.open("rb") as lines:
        for line in lines:
            found: Any = read_json(line)
            yield found
