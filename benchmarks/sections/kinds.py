"""Batches of pictures and of texts of any size, by one worker, beside a bare loop that does the same work."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import wire
from benchmarks.figures import Figure
from benchmarks.kinds import KINDS, Kind
from benchmarks.night import answers_of
from benchmarks.sections.batches import BATCHES_PATH, compared, scored
from benchmarks.sections.section import Section, Turn
from benchmarks.system import LoadFailed, System
from benchmarks.systems import MEDQUEUE, NIGHT_FOLDER

TOLERANCE = 1e-3  # in float32, whose last digits depend on what runs together


def _section(kind: Kind) -> Section:
    def measure(turn: Turn) -> list[Figure]:
        system, count = turn.system, turn.plan.batch_cases
        file = system.folder / NIGHT_FOLDER / f"{kind.name}-{turn.number}.{kind.format}"
        kind.write(file, count, turn.seed)
        found = scored(system, file, kind.model, kind.format, kind.id_column)
        bare = kind.bare(file)
        _check_answers(system, found.batch_id, file)
        return compared(kind.name, kind.name, count, bare, found, workers="one worker")

    return Section(
        f"batch_{kind.name}", kind.title, kind.method, measure, repeated=False, systems=(MEDQUEUE,)
    )


def _check_answers(system: System, batch_id: str, file: Path) -> None:
    """Raises LoadFailed unless the batch gives each row what the bare loop gives it: its likeliest class and probability."""
    answer = wire.ask(system.port, wire.request("GET", f"{BATCHES_PATH}/{batch_id}/results", system.headers))
    table, wanted = pq.read_table(io.BytesIO(answer.body)), pq.read_table(answers_of(file))
    labels = wanted["label"].to_pylist()
    given = np.array([table[f"probability_{label}"][row].as_py() for row, label in enumerate(labels)])
    away = np.abs(given - wanted["probability"].to_numpy()).max()
    if away > TOLERANCE:
        raise LoadFailed(f"{file.name}: the batch and the bare loop differ by up to {away:.2g}")


BATCHES_OF_KINDS = tuple(map(_section, KINDS))
