"""What of labelled data was not read, or is missing: on stderr, in JSON and on the page."""

import hashlib
import json
from pathlib import Path

import httpx
import pytest

from service.cli import main
from service.cli.evaluation.labelled import read_folder
from tests.unit.service.batch_cli.batch_views import BATCH, view
from tests.unit.service.evaluation.test_unscored import LABELS
from tests.unit.service.test_cli_commands import ID, KEY, Api

NOTE = "The file has no column for these fields of the model: ca. Columns that are not read: vessels."
ROWS = "".join(
    json.dumps(
        {
            "row": row,
            "truth": "a",
            "label": label,
            "probability_a": 0.8,
            "probability_b": 0.2,
            "abstained": False,
        }
    )
    + "\n"
    for row, label in enumerate("aab")
).encode()


def test_fields_without_a_column_are_told_with_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Published figures were spoiled by a misspelt column, and nothing said so."""
    api, data, report = Api(), tmp_path / "cases.csv", tmp_path / "page.html"
    data.write_text("truth,vessels\na,1\na,2\na,3\n")
    results = {
        "url": f"{BATCH}/results",
        "rows": 3,
        "size_bytes": len(ROWS),
        "sha256": hashlib.sha256(ROWS).hexdigest(),
    }
    columns = {"used": [], "ignored": ["vessels"], "absent": ["ca"]}
    api.on(
        "GET /v1/models/m",
        {"name": "m", "version": "1.0.0", "labels": LABELS, "task": "tabular-classification"},
    )
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    api.on("POST /v1/batches", view("validating", 0), status=202)
    api.on(f"GET {BATCH}", view(results=results, columns=columns))
    api.on(f"GET {BATCH}/results", httpx.Response(200, content=ROWS))
    words = [
        "models",
        "evaluate",
        "m",
        "--data",
        str(data),
        "--label",
        "truth",
        "--report",
        str(report),
        "--json",
    ]
    assert main([*words, "--url", "http://api.test", "--key", KEY], transport=httpx.MockTransport(api)) == 0
    written = capsys.readouterr()
    assert NOTE in written.err
    assert json.loads(written.out)["notes"] == [NOTE]
    assert f"<p>{NOTE}</p>" in report.read_text()


def test_files_of_folders_within_a_label_count_and_those_beside_the_labels_are_told(tmp_path: Path) -> None:
    """Patients' folders are common; nobody knew that their files were left out."""
    elsewhere = tmp_path / "elsewhere"
    for name in (
        "data/ill/patient 7/2.png",
        "data/stray.png",
        "data/.DS_Store",
        "data/ill/__MACOSX/2.png",
        "elsewhere/1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"content")
    (tmp_path / "data" / "normal").symlink_to(elsewhere)
    told: list[str] = []
    found = read_folder(tmp_path / "data", told.append)
    assert [(case.place, case.truth) for case in found] == [
        ("ill/patient 7/2.png", "ill"),
        ("normal/1.png", "normal"),
    ]
    [note] = told
    assert note.startswith("1 file was not read: no label is known")


def test_truths_that_are_no_label_are_refused_before_any_case_is_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api, data = Api(), tmp_path / "cases.ndjson"
    data.write_text('{"input": {}, "expected": "a"}\n{"input": {}, "expected": 1}\n')
    api.on(
        "GET /v1/models/m",
        {"name": "m", "version": "1.0.0", "labels": LABELS, "task": "tabular-classification"},
    )
    words = ["models", "evaluate", "m", "--data", str(data), "--url", "http://api.test", "--key", KEY]
    assert main(words, transport=httpx.MockTransport(api)) == 2
    assert "The truth of line 2 is no label." in capsys.readouterr().err
    assert [request.method for request in api.asked] == ["GET"]
