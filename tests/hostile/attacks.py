"""What one tenant, or a stranger without a key, can send to hold up the others. Each attack goes on until it is ended.

An attack is a process with its own threads, opens its own connections, and counts what it was answered.
"""

import base64
import itertools
import json
import os
import random
import socket
import string
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from http.client import HTTPConnection, HTTPException
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from tests.acceptance import cases
from tests.hostile import files
from tests.hostile.files import grey_png

FORKING = get_context("fork")
SLOW = "question-match"


@dataclass
class Battlefield:
    """The API under attack: where it is, the attackers' keys, and what they have prepared."""

    port: int
    keys: Sequence[str]
    root: Path  # below it the first attacker's batches may read
    neighbours: Path  # a file below another tenant's root
    large_file: str = ""  # the path of a result of the first attacker
    large_image: str = ""  # the id of its upload of 25 million pixels
    answers: Counter[str] = field(default_factory=Counter)
    over: Event = field(default_factory=FORKING.Event)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        more: Mapping[str, str] | None = None,
        json_text: bool = False,
    ) -> tuple[int, Any]:
        """An answer over a connection of its own, which is counted."""
        given = self.keys[0] if key is None else key
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        is_file = isinstance(body, bytes) and not json_text
        headers["Content-Type"] = "application/octet-stream" if is_file else "application/json"
        headers |= more or {}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=90)) as connection:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        found = json.loads(text) if text.startswith(b"{") else {}
        code = found.get("code")
        self.answers[f"{answer.status} {code}" if code else str(answer.status)] += 1
        return answer.status, found

    def upload(self, content: bytes) -> str:
        """The id of an upload of the first attacker. Raises ConnectionError if it is refused."""
        status, found = self.ask("POST", "/v1/uploads", content)
        if status != 201:
            raise ConnectionRefusedError(found)
        return str(found["id"])

    def head(self, method: str, path: str, key: str, *more: str) -> bytes:
        """A request without its body."""
        lines = (f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *more, "", "")
        return "\r\n".join(lines).encode()


Attack = Callable[[Battlefield], None]
"""Sends until the attack is over."""


def _held(field: Battlefield, requests: Sequence[bytes], *, receives: int | None = None) -> None:
    """Open a connection for each request, send it, and neither read nor send from then on; again for those that are ended."""
    with ExitStack() as stack:
        opened: list[socket.socket | None] = [None] * len(requests)
        while not field.over.is_set():
            for number, request in enumerate(requests):
                if opened[number] is None or _is_ended(opened[number]):
                    opened[number] = stack.enter_context(_connection(field.port, receives))
                    opened[number].sendall(request)  # type: ignore[union-attr]  # it has just been set
                    field.answers["connections"] += 1
            field.over.wait(1.0)


def _connection(port: int, receives: int | None) -> socket.socket:
    connection = socket.socket()
    if receives is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", port))
    return connection


def _is_ended(connection: socket.socket | None) -> bool:
    """Whether the other side has ended it; what it sent is left unread."""
    assert connection is not None
    with suppress(BlockingIOError):
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except ConnectionError:
            return True
    return False


def unread_downloads(field: Battlefield) -> None:
    """64 downloads of a large result that are never read."""
    _held(field, [field.head("GET", field.large_file, field.keys[0])] * 64, receives=4096)


def unsent_bodies(field: Battlefield) -> None:
    """30 bodies of each key that never come."""
    more = ("Content-Type: application/json", "Content-Length: 100000")
    _held(field, [field.head("POST", "/v1/jobs", key, *more) for key in field.keys for _ in range(30)])


def idle_connections(field: Battlefield) -> None:
    """2,100 connections without a key that say nothing."""
    _held(field, [b""] * 2100)


def costly_images(field: Battlefield) -> None:
    """Bulk requests with one image of 25 million pixels, named 256 times; then 64 such images inline."""
    upload = {"model": cases.PNEUMONIA, "input": {"upload_id": field.large_image}}
    field.ask("POST", "/v1/jobs/bulk", {"jobs": [upload] * 256})
    inline = {"data": base64.b64encode(grey_png(5000, 5000)).decode()}
    _, found = field.ask(
        "POST", "/v1/jobs/bulk", {"jobs": [{"model": cases.PNEUMONIA, "input": inline}] * 64}
    )
    for item in found.get("items", ()):
        field.answers[
            f"item {item.get('code') or item.get('problem', {}).get('code') or item.get('state')}"
        ] += 1


def hostile_files(field: Battlefield) -> None:
    """Batches of files that cost far more to decode than to send."""
    opened = [
        field.ask(
            "POST", "/v1/batches",
            {"model": model, "source": {"upload_id": field.upload(content)}, "format": form}
            | ({"carry": ["note"]} if number == 0 else {}),
        )[1].get("id")
        for number, (form, model, content) in enumerate(bombs())
    ]  # fmt: skip
    for batch_id in filter(None, opened):
        _batch_ended(field, batch_id)


def _batch_ended(field: Battlefield, batch_id: str) -> None:
    while not field.over.is_set():
        _, batch = field.ask("GET", f"/v1/batches/{batch_id}")
        if batch.get("state") in {"failed", "completed", "canceled"}:
            problem = batch.get("problem") or {}
            field.answers[f"batch {batch['state']} {problem.get('code', '')}".strip()] += 1
            return
        field.over.wait(0.5)


def invented_methods(field: Battlefield) -> None:
    """20,000 requests without a key, each with a method and a path of its own."""
    chance = random.Random(time.monotonic_ns())
    with closing(HTTPConnection("127.0.0.1", field.port, timeout=30)) as connection:
        for _ in range(20_000):
            if field.over.is_set():
                return
            word = "".join(chance.choices(string.ascii_uppercase, k=9))
            connection.request(word, f"/{word}", headers={"Host": word})
            answer = connection.getresponse()
            answer.read()
            field.answers[str(answer.status)] += 1


def bad_keys(field: Battlefield) -> None:
    """Submits with keys that were never given out, each another."""
    for number in range(2000):
        if field.over.is_set():
            return
        field.ask("POST", "/v1/jobs", {}, key=f"mq_{number:032x}_{'x' * 43}")


def names_that_never_resolve(field: Battlefield) -> None:
    """Webhook endpoints at names of a domain that nobody answers for, 8 at a time."""

    def register(number: int) -> None:
        url = f"https://receiver-{number}-{time.monotonic_ns()}.medqueue-hostile.test/hook"
        field.ask(
            "POST", "/v1/webhook-endpoints",
            {"url": url, "event_types": ["job.succeeded"]}, key=field.keys[number % len(field.keys)],
        )  # fmt: skip

    _side_by_side([partial(register, number) for number in range(8)])


def flood_of_a_slow_model(field: Battlefield) -> None:
    """10,000 `stat` jobs of a model that takes some 14 ms for each, and a new bulk request whenever there is room."""
    given = cases.golden_cases(SLOW)[0]["input"]
    _flood(field, {"model": SLOW, "input": given, "priority": "stat"})


def flood_of_a_quick_model(field: Battlefield) -> None:
    """The same of the model whose jobs another tenant waits for."""
    _flood(field, {"model": cases.BREAST_CANCER, "input": cases.golden()["input"], "priority": "stat"})


def _flood(field: Battlefield, job: object) -> None:
    for _ in range(20):
        if not field.over.is_set():
            field.ask("POST", "/v1/jobs/bulk", {"jobs": [job] * 500})


def flood_of_single_jobs(field: Battlefield) -> None:
    """The same, a job a request, over 16 connections that are kept."""
    job = {"model": cases.BREAST_CANCER, "input": cases.golden()["input"], "priority": "stat"}
    _side_by_side([partial(_kept_busy, field, "POST", "/v1/jobs", json.dumps(job).encode())] * 16)


def flood_of_lists(field: Battlefield) -> None:
    """Lists of 200 jobs, over 16 connections that are kept."""
    _side_by_side([partial(_kept_busy, field, "GET", "/v1/jobs?limit=200")] * 16)


def _kept_busy(field: Battlefield, method: str, path: str, body: bytes | None = None) -> None:
    """Ask the same for some seconds over one connection."""
    headers = {"Authorization": f"Bearer {field.keys[0]}", "Content-Type": "application/json"}
    until = time.monotonic() + 3.0
    with closing(HTTPConnection("127.0.0.1", field.port, timeout=90)) as connection:
        while time.monotonic() < until and not field.over.is_set():
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            field.answers[f"{answer.status} {found.get('code', '')}".strip()] += 1


def foreign_roots(field: Battlefield) -> None:
    """Sources and places below another tenant's root, in every spelling."""
    name = str(field.neighbours)
    step = os.path.relpath(name, field.root)
    dots = ("..", "%2e%2e", "%252e%252e", ".%2e", "..;x", "...", ".. ", "..%00", "..%2f..")
    spelled = [
        name,
        f"file://{name}",
        f"local://{name}",
        f"//{name}",
        f"simplecache::file://{name}",
        name.upper(),
        f"{name}.",
    ]
    spelled += [f"/proc/self/root{name}", f"{field.root}/link/{Path(name).name}"]
    spelled += [f"{field.root}/{step.replace('..', dot)}" for dot in dots]
    for uri, kind in itertools.product(spelled, ("source", "place")):
        if field.over.is_set():
            return
        source = uri if kind == "source" else f"{field.root}/own.csv"
        body: dict[str, Any] = {"model": cases.BREAST_CANCER, "source": {"uri": source}, "format": "csv"}
        _, found = field.ask(
            "POST", "/v1/batches", body | ({"output": {"place": uri}} if kind == "place" else {})
        )
        if "id" in found:
            _batch_ended(field, found["id"])


def special_files(field: Battlefield) -> None:
    """Batches over a FIFO and a socket below the tenant's own root."""
    for name in ("pipe", "socket"):
        body = {"model": cases.BREAST_CANCER, "source": {"uri": f"{field.root}/{name}"}, "format": "csv"}
        _, found = field.ask("POST", "/v1/batches", body)
        if "id" in found:
            _batch_ended(field, found["id"])


def costly_bodies(field: Battlefield) -> None:
    """JSON bodies of many unknown names and of many values, 8 at a time; most are refused unparsed."""
    names = {"model": cases.BREAST_CANCER, "input": {}} | {f"a{number}": 0 for number in range(20_000)}
    fields = {"model": cases.BREAST_CANCER, "input": {f"a{number}": 0 for number in range(200_000)}}
    lists = b'{"model": "x", "input": [' + b",".join([b"[]"] * 5_000_000) + b"]}"
    numbers = b'{"model": "x", "input": [' + b",".join([b"0"] * 2_500_000) + b"]}"
    _side_by_side(
        [
            partial(field.ask, "POST", path, body, json_text=True)
            for path in ("/v1/jobs", "/v1/jobs/bulk")
            for body in (names, fields, lists, numbers)
        ]
    )


def many_results(field: Battlefield) -> None:
    """1,000 results a request, 16 at a time, and as many again that wait for jobs that are queued."""
    job = {"model": cases.BREAST_CANCER, "input": cases.golden()["input"]}
    _, found = field.ask("POST", "/v1/jobs/bulk", {"jobs": [job] * 1000})
    ids = {"ids": [item["id"] for item in found.get("items", ()) if "id" in item]}
    if not ids["ids"]:
        return
    waits = {"Prefer": "wait=5"}
    ask = partial(field.ask, "POST", "/v1/jobs/results", ids)
    for _ in range(3):
        if not field.over.is_set():
            _side_by_side([*[ask] * 16, *[partial(ask, more=waits)] * 16])


def _side_by_side(requests: Sequence[Callable[[], object]]) -> None:
    def quietly(request: Callable[[], object]) -> None:
        with suppress(OSError, HTTPException):
            request()

    threads = [threading.Thread(target=quietly, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


ATTACKS: tuple[Attack, ...] = (
    unread_downloads,
    unsent_bodies,
    idle_connections,
    costly_images,
    hostile_files,
    invented_methods,
    bad_keys,
    names_that_never_resolve,
    costly_bodies,
    many_results,
    flood_of_a_slow_model,
    flood_of_a_quick_model,
    flood_of_single_jobs,
    flood_of_lists,
    foreign_roots,
    special_files,
)


@cache
def bombs() -> tuple[tuple[str, str, bytes], ...]:
    """Files that cost far more to decode than to send, each with its format and a model."""
    columns = tuple(cases.golden()["input"])
    return (
        ("parquet", cases.BREAST_CANCER, files.repeated_text(columns)),
        ("parquet", cases.BREAST_CANCER, files.many_rows(columns)),
        ("tar", cases.PNEUMONIA, files.tar_with_chained_headers()),
        ("zip", cases.PNEUMONIA, files.zip_with_endless_index()),
    )
