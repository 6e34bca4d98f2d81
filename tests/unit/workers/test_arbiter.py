"""Jobs first: who runs the graph when, and what a batch does while it waits."""

import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from models.pipelines import Array
from tests.acceptance.stack import eventually
from workers.arbiter import GraphArbiter, YieldingGraphs


class SlowGraph:
    """A graph whose runs last until they are let go, and that tells whether two ever ran at once."""

    size_mb = 1.0

    def __init__(self) -> None:
        self.runs = 0
        self.go = threading.Event()
        self.entered = threading.Event()
        self.stopped = False

    def run(self, feeds: Mapping[str, Array], graph: str = "model") -> dict[str, Array]:
        self.runs += 1
        self.entered.set()
        assert self.go.wait(5)
        return dict(feeds)

    def trim(self) -> None:
        pass

    def beside(self) -> "SlowGraph":
        return self

    def stop(self) -> None:
        self.stopped = True


class Refused(Exception):
    """What a test raises to break off."""


def nothing() -> None:
    """Neither begins nor waits for anything."""


def yielding(
    graph: SlowGraph, arbiter: GraphArbiter, begin: Callable[[object], object] = lambda _: None
) -> YieldingGraphs:
    return YieldingGraphs(graph, arbiter, begin=begin, while_waiting=nothing)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_batch_runs_when_no_job_is_in_hand() -> None:
    graph = SlowGraph()
    graph.go.set()
    feeds = {"x": np.zeros(1)}
    assert yielding(graph, GraphArbiter()).run(feeds).keys() == feeds.keys()
    assert graph.runs == 1


def test_a_jobs_run_waits_for_the_micro_batch_in_progress_and_no_longer() -> None:
    graph, arbiter, claimed, ran = SlowGraph(), GraphArbiter(), threading.Event(), threading.Event()

    def job() -> None:
        with arbiter.job():
            claimed.set()
            arbiter.wait()
            ran.set()
            assert graph.go.wait(5)

    batch = in_thread(lambda: [yielding(graph, arbiter).run({}) for _ in range(2)])
    assert graph.entered.wait(5)
    in_thread(job)
    assert claimed.wait(1)
    assert not ran.wait(0.1)
    graph.go.set()
    assert ran.wait(1)
    batch.join(1)


def test_no_micro_batch_begins_from_a_jobs_claim_to_its_end() -> None:
    graph, arbiter = SlowGraph(), GraphArbiter()
    graph.go.set()
    with arbiter.job():
        batch = in_thread(lambda: yielding(graph, arbiter).run({}))
        arbiter.wait()
        time.sleep(0.1)
        assert graph.runs == 0
    batch.join(2)
    assert graph.runs == 1


def test_a_batch_waits_while_jobs_are_in_hand_and_says_that_it_is_alive() -> None:
    graph, arbiter, alive = SlowGraph(), GraphArbiter(), []
    graph.go.set()
    waiting = YieldingGraphs(graph, arbiter, begin=lambda _: None, while_waiting=lambda: alive.append(1))
    with arbiter.job(), arbiter.job():
        batch = in_thread(lambda: waiting.run({}))
        eventually(lambda: bool(alive), within_s=3)
        assert graph.runs == 0
    batch.join(2)
    assert graph.runs == 1


def test_a_job_that_fails_lets_batches_go_on() -> None:
    arbiter = GraphArbiter()
    with pytest.raises(Refused), arbiter.job():
        raise Refused
    arbiter.give_way(nothing)


def test_a_micro_batch_that_fails_lets_jobs_go_on() -> None:
    arbiter = GraphArbiter()
    with pytest.raises(Refused), arbiter.micro_batch(nothing):
        raise Refused
    with arbiter.job():
        arbiter.wait()


def test_whoever_waits_can_give_up() -> None:
    arbiter = GraphArbiter()

    def give_up() -> None:
        raise Refused

    with arbiter.job(), pytest.raises(Refused):
        arbiter.give_way(give_up)
    with arbiter.job():
        arbiter.wait()  # what gave up has taken nothing


def test_a_batch_that_finds_its_lease_lost_runs_nothing() -> None:
    graph = SlowGraph()

    def lost(_: object) -> None:
        raise Refused

    with pytest.raises(Refused):
        yielding(graph, GraphArbiter(), begin=lost).run({})
    assert graph.runs == 0


def test_jobs_that_come_one_after_another_share_the_worker_with_nobody() -> None:
    graph, arbiter = SlowGraph(), GraphArbiter()
    graph.go.set()
    with arbiter.job():
        batch = in_thread(lambda: [yielding(graph, arbiter).run({}) for _ in range(3)])
        for _ in range(20):
            with arbiter.job():
                time.sleep(0.005)
        assert graph.runs == 0
    batch.join(2)
    assert graph.runs == 3


def test_a_stop_reaches_the_graph() -> None:
    graph = SlowGraph()
    yielding(graph, GraphArbiter()).stop()
    assert graph.stopped
