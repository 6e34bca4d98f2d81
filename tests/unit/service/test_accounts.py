"""The shape of an API key, and what a scope allows. Keys in the database: integration."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.accounts import TOKEN, Principal, Scope, authenticate
from service.crypto import Cipher, Keyring
from service.db import UnitOfWork
from service.errors import KeyInvalid, ScopeMissing

SECRET = "A-_" + "x" * 40
GOOD = f"mq_0123456789ab_{SECRET}"


class UnaskedDatabase(UnitOfWork):
    """A unit of work that nothing may be asked of."""

    def __init__(self) -> None:
        pass

    def execute(self, query: str, params: object = ()) -> list[tuple[object, ...]]:
        raise AssertionError("the database was asked")


def principal(*scopes: Scope) -> Principal:
    return Principal("0123456789ab", UUID(int=1), frozenset(scopes), Cipher(bytes(32)))


def test_a_token_is_an_id_to_look_up_and_a_secret_to_prove() -> None:
    shape = TOKEN.fullmatch(GOOD)
    assert shape is not None
    assert shape.groups() == ("0123456789ab", SECRET)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "mq_",
        "mq__",
        GOOD.replace("mq_", "MQ_"),
        GOOD.replace("mq_", ""),
        GOOD.replace("0123456789ab", "0123456789AB"),
        GOOD.replace("0123456789ab", "0123456789a"),
        GOOD.replace("0123456789ab", "' OR '1'='1"),
        GOOD[:-1],
        GOOD + "x",
        GOOD + "\n",
        " " + GOOD,
        GOOD[:-1] + "=",
        GOOD[:-1] + "é",
        GOOD[:-1] + "\0",
        "x" * 100_000,
    ],
)
def test_a_malformed_token_is_refused_before_the_database_is_asked(token: str) -> None:
    with pytest.raises(KeyInvalid):
        authenticate(UnaskedDatabase(), Keyring(bytes(32)), token)


@given(st.text(max_size=80))
def test_no_text_but_a_token_passes_for_one(token: str) -> None:
    if not re.fullmatch(r"mq_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token, re.ASCII):
        with pytest.raises(KeyInvalid):
            authenticate(UnaskedDatabase(), Keyring(bytes(32)), token)


def test_a_scope_that_the_key_has_is_granted() -> None:
    principal(Scope.JOBS_READ).require(Scope.JOBS_READ)


@pytest.mark.parametrize("scope", Scope)
def test_admin_includes_every_scope(scope: Scope) -> None:
    principal(Scope.ADMIN).require(scope)


def test_a_scope_that_the_key_lacks_is_named() -> None:
    with pytest.raises(ScopeMissing, match="jobs:write") as caught:
        principal(Scope.JOBS_READ, Scope.MODELS_READ).require(Scope.JOBS_WRITE)
    assert caught.value.scope == "jobs:write"


def test_an_event_names_a_key_by_its_id_never_by_its_token() -> None:
    assert principal().actor == "key:0123456789ab"
