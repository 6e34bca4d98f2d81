"""Jobs with their answers as a reader sees them: one in full, or many in a line each."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType

from service.cli import results, tables
from service.cli.client import Json
from service.cli.tables import NOTHING, REFUSED, cell_text, fields, listing, moment, problem, text, took

JOB_FIELDS = ("id", "state", "model", "model_version", "kind", "priority", "attempt", "subject")
PROVENANCE = frozenset({"type", "model_digest", "runtime", "provider"})


def job(found: Json) -> RenderableType:
    """A job with its result or its problem."""
    times = [
        (name, moment(found[name])) for name in ("created_at", "started_at", "finished_at") if found[name]
    ]
    waits = [("not_before", moment(found["not_before"]))] if found.get("not_before") else []
    waits += [("after", job_id) for job_id in found.get("after") or ()]
    waits += [("delay", found["delay"]["detail"])] if found.get("delay") else []
    parts = [fields([*((name, found[name]) for name in JOB_FIELDS), *waits, *times, ("took", took(found))])]
    if found.get("result") is not None:
        parts += results.result(found["result"])
    if found.get("problem") is not None:
        parts += [text("\nProblem", "bold"), fields(found["problem"].items())]
    return Group(*parts)


def trail(events: Sequence[Json], delay: Json) -> RenderableType:
    """The audit trail of a job, and why it has not started."""
    told = [] if delay["detail"] is None else [text(f"\n{delay['detail']}")]
    return Group(tables.events(events), *told)


def answers(items: Sequence[Json]) -> RenderableType:
    """The answers to a bulk submit: jobs, or the problems of cases that were refused; and how many of each."""
    states = Counter(item.get("state", REFUSED) for item in items)
    table = listing(
        ("CASE", "STATE", "ID", "TOOK", "ANSWER"),
        (
            (index, item["state"], item["id"], took(item), answer(item))
            if "state" in item
            else (index, REFUSED, NOTHING, NOTHING, problem(item))
            for index, item in enumerate(items)
        ),
        empty="No cases.",
    )
    return Group(table, text("\n" + ", ".join(f"{count} {state}" for state, count in states.items())))


def answer(job: Json) -> str:
    """A job's result in a few words, or its problem."""
    if job.get("problem") is not None:
        return problem(job["problem"])
    result = job.get("result")
    if result is None:
        return NOTHING
    if result.get("abstained"):
        return f"abstained: {result.get('abstain_reason')}"
    if result.get("display") and isinstance(result.get("probabilities"), dict):
        return (
            f"{result['display']} ({result['label']} {result['probabilities'].get(result['label'], 0):.3f})"
        )
    if (words := results.answer(result)) is not None:
        return words
    told = {name: value for name, value in result.items() if name not in PROVENANCE}
    if told.get("artifacts"):
        told["artifacts"] = [each["name"] for each in told["artifacts"]]
    return cell_text(told)
