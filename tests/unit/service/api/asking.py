"""Requests of two tenants, as tests of their turns send them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from flask import Flask
from flask.ctx import RequestContext
from werkzeug.test import create_environ

from service.accounts import Principal
from service.api.http.turns import (
    LONG_VALUES,
)
from service.crypto import Cipher

LONG = b"[" + b"0," * LONG_VALUES + b"0]"
HUGE = b"[" + b"0," * 2_000_000 + b"0]"  # holds the interpreter for 80 ms


def caller(tenant: str) -> Principal:
    return Principal("0123456789ab", UUID(int=ord(tenant)), frozenset(), Cipher(bytes(32)))


A, B = caller("a"), caller("b")


@contextmanager
def request(app: Flask, path: str = "/", **given: Any) -> Iterator[RequestContext]:
    with app.request_context(create_environ(path, method="POST", **given)) as context:
        yield context


def in_a_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
