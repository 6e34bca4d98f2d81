"""Workers that exit in the middle of a batch: its output stays, byte for byte, what an undisturbed batch gives."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.failpoints import Point
from tests.acceptance import cases
from tests.acceptance.stack import eventually
from tests.faults.arena import BATCH_POINTS, Arena
from tests.faults.report import Report

pytestmark = pytest.mark.timeout(5400)

ROWS = 3000
BAD = range(7, ROWS, 501)
ENDS_WITHIN_S = 60.0
COUNTS = {"total": ROWS, "succeeded": ROWS - len(BAD), "failed": len(BAD), "remaining": 0}
# What may be left over of a batch that has ended: nothing that is held or waits.
HELD = """
SELECT (SELECT count(*) FROM batch_chunk WHERE batch_id = %s AND state IN ('queued', 'running'))
     + (SELECT count(*) FROM batch_step WHERE batch_id = %s AND state IN ('queued', 'running'))
"""
CLOSING = "SELECT count(*) FROM audit_event WHERE batch_id = %s AND action = 'batch.completed'"


def test_s15_exits_in_a_batch(arena: Arena, report: Report, full: bool) -> None:
    rounds = 20 if full else 1
    file = night_file(arena.stack.night)
    order = BATCH_POINTS * rounds
    arena.chance("s15").shuffle(order)
    with report.scenario(arena, "S15 exits at every point of a batch") as found, arena.stack.client() as http:
        wanted = run(arena, http, file, None)
        for point in order:
            assert run(arena, http, file, point) == wanted, point
        found["faults"] = f"{rounds} exits at each of {len(BATCH_POINTS)} points, a batch of {ROWS} rows each"


def run(arena: Arena, http: httpx.Client, file: Path, point: Point | None) -> tuple[str, str]:
    """The hashes of results and errors of a batch, during which a worker exits at `point`."""
    token = arena.put_token(point) if point else None
    body = {
        "model": cases.BREAST_CANCER,
        "source": {"uri": file.as_uri()},
        "format": "csv",
        "id_column": "id",
    }
    answer = http.post("/v1/batches", json=body)
    assert answer.status_code == 202, answer.text
    batch: dict[str, Any] = {}

    def ended() -> bool:
        batch.update(http.get(f"/v1/batches/{answer.json()['id']}").json())
        return batch["finished_at"] is not None

    eventually(ended, within_s=ENDS_WITHIN_S, every_s=0.05)
    if token is not None:  # reached, if only behind the end of the batch
        eventually(lambda: not token.exists(), within_s=5)
    assert (batch["state"], batch["counts"]) == ("completed", COUNTS), batch
    assert arena.scalar(HELD, batch["id"], batch["id"]) == 0
    assert arena.scalar(CLOSING, batch["id"]) == 1
    for kind in ("results", "errors"):
        content = http.get(f"/v1/batches/{batch['id']}/{kind}").content
        assert content.count(b"\n") == batch[kind]["rows"]
    return batch["results"]["sha256"], batch["errors"]["sha256"]


def night_file(folder: Path) -> Path:
    """Cases as CSV, some of them with a number out of its range."""
    names = list(cases.golden()["input"])
    lines = [",".join(("id", *names))]
    for row in range(1, ROWS + 1):
        values = list(cases.golden(row)["input"].values())
        if row in BAD:
            values[0] = -1e9
        lines.append(",".join((f"case-{row}", *map(str, values))))
    file = folder / "cases.csv"
    file.write_text("\n".join(lines) + "\n")
    return file
