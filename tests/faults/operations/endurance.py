"""Runs one scenario: jobs come in while something is broken, the cause is named in time, and all of them end well."""

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from unittest import mock

import httpx

from service.cli import main
from tests.acceptance.stack import eventually
from tests.faults.arena import Arena, meanwhile
from tests.faults.report import Report
from tests.faults.test_scenarios_workers import bodies, outcomes

JOBS, WAVES = 120, 6
NAMED_WITHIN_S = 15.0
ENDS_WITHIN_S = 60.0


def endured(
    arena: Arena,
    report: Report,
    name: str,
    fault: AbstractContextManager[object],
    *,
    words: Sequence[str],
    scored_meanwhile: bool = False,
    lasts_s: float = 0.0,
    swept_meanwhile: bool = False,
    shows_after_s: float = 0.0,
) -> None:
    """Submit 120 jobs during a fault; one of `words` must be said of it in time, and every job must succeed.

    `scored_meanwhile`: they must end before it is mended, and no process of ours may end. Else they may be refused or wait
    until then. `swept_meanwhile`: the scheduler must sweep on. The fault lasts for `lasts_s` seconds at least. It cannot be
    told before `shows_after_s`.
    """
    load, ids = arena.load(), list[str]()
    processes, began = pids(arena), time.monotonic()

    def submit() -> None:
        for number in range(WAVES):
            ids.extend(load.submit_wave(number, bodies(JOBS // WAVES)))

    with report.scenario(arena, name) as found:
        found["faults"] = name
        with contextlib.ExitStack() as broken:
            broken.enter_context(fault)
            with meanwhile(submit):
                found["named"] = named(arena, words, shows_after_s + NAMED_WITHIN_S)
                if not scored_meanwhile:
                    broken.close()
            if scored_meanwhile:
                found["all ended during the fault"] = f"{arena.all_ended(ids, ENDS_WITHIN_S):.1f} s"
                time.sleep(max(0.0, began + lasts_s - time.monotonic()))
                assert pids(arena) == processes
                assert not swept_meanwhile or said_by_readyz(arena)["scheduler"] == "ok"
        found["all ended once it was mended"] = f"{arena.all_ended(ids, ENDS_WITHIN_S):.1f} s"
        assert len(ids) == JOBS
        eventually(
            lambda: bool(said_by_readyz(arena)), within_s=2 * NAMED_WITHIN_S, every_s=0.5
        )  # it may be starting
        assert set(outcomes(arena, ids)) == {"succeeded"}
    eventually(lambda: all_is_well(arena), within_s=2 * NAMED_WITHIN_S, every_s=0.5)


def pids(arena: Arena) -> dict[str, int]:
    """The processes that do our work."""
    return {name: arena.stack.pid(name) for name in (*arena.stack.worker_names, "scheduler", "api")}


def all_is_well(arena: Arena) -> bool:
    """Whether nobody has anything to say any more."""
    said = [said_by(arena, *words) for words in healths(arena)]
    ready = said_by_readyz(arena)
    return (ready.get("redis"), ready.get("scheduler")) == ("ok", "ok") and not any(said)


def named(arena: Arena, words: Sequence[str], within_s: float) -> str:
    """Wait until one of the answers holds one of the words; who said it, and after how many seconds."""
    began = time.monotonic()
    heard = ""
    while (took_s := time.monotonic() - began) < within_s:
        for source, text in answers(arena):
            if any(word in text for word in words):
                return f"by {source} after {took_s:.1f} s"
            heard += f"\n{source}: {text}"
        time.sleep(0.2)
    raise AssertionError(f"nobody said any of {words}:{heard[-4000:]}")


def answers(arena: Arena) -> Iterator[tuple[str, str]]:
    """What an operator is told, quickest first."""
    yield "/readyz", json.dumps(said_by_readyz(arena))
    for words in healths(arena):
        yield f"medqueue {' '.join(words[:2])}", said_by(arena, *words)
    yield "medqueue doctor", said_by(arena, "doctor")


def healths(arena: Arena) -> list[tuple[str, ...]]:
    """The commands that ask each process."""
    names = (*arena.stack.worker_names, "scheduler")
    return [("health", name.partition("-")[0], "--name", name) for name in names]


def said_by_readyz(arena: Arena) -> dict[str, object]:
    """The answer of /readyz, whatever its status; empty when there is none."""
    try:
        with arena.stack.client() as http:
            return dict(http.get("/readyz").json())
    except (httpx.TransportError, ValueError):
        return {}


def said_by(arena: Arena, *words: str) -> str:
    """What a command of ours prints about the stack, on either stream."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, arena.environment(), clear=True),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        main([*words, "--data-dir", str(arena.stack.data)])
    return " ".join(printed.getvalue().split())
