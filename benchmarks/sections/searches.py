"""Searches in a collection, exact and approximate, beside a bare loop over the same graph and index."""

import json
from typing import NamedTuple

from benchmarks import cpu, wire
from benchmarks.figures import Figure, figure
from benchmarks.questions import MODEL, bare_searches, questions
from benchmarks.sections.section import Section, Turn
from benchmarks.system import LoadFailed, System, job_id
from benchmarks.systems import MEDQUEUE
from benchmarks.wire import Script, drive

WARM_UP = 50  # questions, of which the first makes the worker open the model
ALIKE = 0.995  # share of documents that service and bare loop have in common: near ties may fall either way

Lists = list[list[str]]


class Served(NamedTuple):
    """The documents found for each question, none where the model abstained, and what finding them took."""

    found: Lists
    used: cpu.Seconds


def measure(turn: Turn) -> list[Figure]:
    """Ask all questions approximately, then exactly, each time of the service and of the bare loop."""
    texts = questions(turn.plan.searches + WARM_UP, turn.seed)
    _served(turn.system, texts[:WARM_UP], turn.plan.clients, exact=False)
    asked, figures, lists = texts[WARM_UP:], [], []
    for way, exact in (("approximate", False), ("exact", True)):
        served = _served(turn.system, asked, turn.plan.clients, exact=exact)
        bare = bare_searches(asked, exact=exact)
        if (alike := _in_common(served.found, bare.found)) < ALIKE:
            raise LoadFailed(f"{way} search: service and bare loop have only {alike:.1%} in common")
        lists.append(served.found)
        worker, every, loop = (
            1000 * seconds / len(asked)
            for seconds in (served.used["worker"], sum(served.used.values()), bare.cpu_s)
        )
        figures += [
            figure(f"search_{way}_worker", f"{way} search, CPU of the worker", "ms a query", worker),
            figure(f"search_{way}_bare", "CPU of the bare loop", "ms a query", loop),
            figure(f"search_{way}_share", "the second as a share of the first", "", loop / worker),
            figure(f"search_{way}_cpu", "CPU of all processes", "ms a query", every),
        ]
    recall = _in_common(*lists)
    return [
        *figures,
        figure("search_recall", "share of the exact ten that approximate search finds", "", recall),
    ]


def _served(system: System, texts: list[str], clients: int, *, exact: bool) -> Served:
    """Ask questions, each client its share, and read the answers once all are there. Raises LoadFailed."""
    ids: dict[str, str] = {}
    before = system.cpu()
    drive(
        system.port, [_asking(system, texts[client::clients], ids, exact=exact) for client in range(clients)]
    )
    system.wait_for([ids[text] for text in texts])
    used = cpu.between(before, system.cpu())
    answers = [json.loads(wire.ask(system.port, system.read(ids[text])).body)["result"] for text in texts]
    return Served([[hit["id"] for hit in answer["hits"]] for answer in answers], used)


def _asking(system: System, texts: list[str], ids: dict[str, str], *, exact: bool) -> Script:
    """A client that asks one question after another."""
    for text in texts:
        job = {"model": MODEL, "input": {"question": text}, "options": {"exact": exact}}
        ids[text] = job_id((yield system.submit(json.dumps(job).encode())))


def _in_common(some: Lists, others: Lists) -> float:
    """The mean share of the second lists that is in the first, where neither is empty."""
    shares = [len({*a} & {*b}) / len(b) for a, b in zip(some, others, strict=True) if a and b]
    return sum(shares) / len(shares)


SEARCHES = Section(
    "searches",
    "Searches",
    "Sixteen clients ask questions about subjects of the 14,263 documents of health-question-search, one job each; measured"
    " until every job has succeeded, first approximate, then exact searches. The bare loop, one process, cuts the same"
    " questions into tokens, runs the same graph with one thread and searches the same index, one question at a time.",
    measure,
    systems=(MEDQUEUE,),
)
