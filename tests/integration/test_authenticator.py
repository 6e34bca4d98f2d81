"""What a key is, good or bad, is looked up once in a while and not at every request."""

import pytest
from flask import Flask

from service.accounts import Principal, Scope
from service.api.http.auth import Authenticator
from service.api.http.turns import Turns
from service.crypto import Keyring
from service.db import Database, UnitOfWork
from service.errors import KeyInvalid
from tests import factories

CACHE_S = 1.0
UNKNOWN = f"mq_0123456789ab_{'x' * 43}"


class CountedDatabase(Database):
    """The database, and how many statements were asked of it."""

    statements = 0

    def statement(self) -> UnitOfWork:
        """See Database."""
        self.statements += 1
        return super().statement()


@pytest.fixture
def counted(database_url: str) -> CountedDatabase:
    return CountedDatabase(database_url)


def asked(auth: Authenticator, token: str) -> Principal:
    with Flask("test").test_request_context(headers={"Authorization": f"Bearer {token}"}):
        return auth.principal(Scope.JOBS_READ)


@pytest.mark.parametrize("is_good", [True, False], ids=["good", "bad"])
def test_a_key_is_looked_up_again_only_after_a_while(
    database: Database, counted: CountedDatabase, keyring: Keyring, is_good: bool
) -> None:
    now = [0.0]
    auth = Authenticator(counted, keyring, Turns(64), cache_s=CACHE_S, clock=lambda: now[0])
    token = factories.issue_token(database, keyring) if is_good else UNKNOWN

    def ask() -> bool:
        try:
            asked(auth, token)
        except KeyInvalid:
            return False
        return True

    assert [ask() for _ in range(5)] == [is_good] * 5
    assert counted.statements == 1
    now[0] = CACHE_S
    assert ask() == is_good
    assert counted.statements == 2
    counted.close()
