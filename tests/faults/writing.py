"""Jobs that write texts, and jobs that wait for them, in the mix of a scenario."""

from collections.abc import Sequence

from tests.acceptance import cases, slow_writer
from tests.acceptance.stack import eventually
from tests.faults.arena import OPEN_JOBS, Arena
from tests.faults.load import Load, read_until_answered
from tests.faults.test_scenario_chains import OUT_OF_ORDER

TOKENS = 40
LEFT_OVER = "SELECT count(*) FROM job_partial_text"
WRITTEN_AGAIN = "SELECT count(*) FROM job WHERE id = ANY(%s::uuid[]) AND fence > 1"
WRITING = """
SELECT max(lease_owner) FROM job JOIN model_version AS version ON version.id = model_version_id
WHERE state = 'running' AND version.name = %s
"""
# An operator decides about a quarantined job; until then those that name it wait.
HELD_UP = """
SELECT coalesce(array_agg(job.id::text), '{}') FROM job
WHERE state = 'waiting' AND id IN (SELECT job_id FROM job_after JOIN job AS predecessor
    ON predecessor.id = predecessor_id WHERE predecessor.state = 'quarantined')
"""


def text_and_follower(load: Load, number: int) -> str:
    """Submit a job that writes a text, and a case that waits for it; the first one's id."""
    options = {"max_new_tokens": TOKENS}
    text = {"model": slow_writer.NAME, "input": {"text": "no fever"}, "options": options}
    (text_id,) = load.submit_wave(2 * number, [text])
    load.submit_wave(2 * number + 1, [cases.submission() | {"after": [text_id]}])
    return text_id


def kill_a_writer(arena: Arena) -> None:
    """SIGKILL a worker that writes a text, as soon as one does."""
    names = list[str]()

    def found() -> bool:
        owner = arena.scalar(WRITING, slow_writer.NAME) or ""
        names.extend(name for name in arena.stack.worker_names if name in owner)
        return bool(names)

    eventually(found, within_s=30, every_s=0.01)
    arena.kill(names[0])


def checked(arena: Arena, text_ids: Sequence[str]) -> str:
    """Wait until all is quiet, and check that every text is whole and what waited came after it; what a report says."""

    def ended() -> bool:
        arena.load().cancel_all(arena.scalar(HELD_UP), clients=1)
        return bool(arena.scalar(OPEN_JOBS) == 0)

    eventually(ended, within_s=60, every_s=0.5)
    with arena.stack.client() as http:
        jobs = [read_until_answered(http, text_id) for text_id in text_ids]
    texts = [job["result"]["text"] for job in jobs if job["state"] == "succeeded"]
    assert set(texts) == {slow_writer.text_of(TOKENS)}
    assert len(texts) + sum(job["state"] == "quarantined" for job in jobs) == len(text_ids)
    assert arena.scalar(OUT_OF_ORDER) == 0
    eventually(lambda: arena.scalar(LEFT_OVER) == 0, within_s=20)
    return f"{len(texts)}, of which {arena.scalar(WRITTEN_AGAIN, list(text_ids))} were begun again"
