"""What the database seals of an event: the same bytes as ever, whichever of its values are absent."""

from itertools import product
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

from service import audit
from service.schema import migrate, unmigrate

APPEND = """
INSERT INTO audit_event (tenant_id, job_id, batch_id, object, actor, action, detail) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
# The trail's first form, which verified exports were made of.
FIRST_FORM = r"""
SELECT id, canon, leaf, convert_to('{"action":' || to_json(action)::text || ',"actor":' || to_json(actor)::text
    || coalesce(',"batch_id":"' || batch_id::text || '"', '') || ',"detail":' || detail::text || ',"id":"' || id::text
    || '","job_id":' || coalesce('"' || job_id::text || '"', 'null')
    || ',"object":' || coalesce(to_json(object)::text, 'null')
    || ',"occurred_at":"' || to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","tenant_id":' || coalesce('"' || tenant_id::text || '"', 'null') || '}', 'UTF8') AS first_form
FROM audit_event ORDER BY id
"""
OBJECTS = (None, "", 'model:"quoted"@1.0.0', "null", "心电图\n\\", "x" * 5000)


def append_every_form(opened: "psycopg.Connection[Any]") -> int:
    """Events with each of the optional values there and absent; how many."""
    forms = list(product((None, uuid4()), (None, uuid4()), (None, uuid4()), OBJECTS))
    for tenant_id, job_id, batch_id, object_ in forms:
        detail = Jsonb({"object": object_, "n": [1, 2.5, None]})
        opened.execute(APPEND, (tenant_id, job_id, batch_id, object_, 'a"ctor', "job.test", detail))
    return len(forms)


def assert_sealed_as_ever(opened: "psycopg.Connection[Any]", count: int) -> None:
    sealed = opened.execute(FIRST_FORM).fetchall()
    assert len(sealed) == count
    for _, canon, leaf, first_form in sealed:
        assert canon == first_form
        assert audit.leaf_of(canon) == leaf
        assert audit.read_canon(canon)["action"] == "job.test"


def test_the_canonical_bytes_are_those_of_the_first_release(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as opened:
        assert_sealed_as_ever(opened, append_every_form(opened))


def test_going_back_a_release_and_forth_seals_the_same(empty_database_url: str) -> None:
    migrate(empty_database_url)
    unmigrate(empty_database_url, "0015")
    with psycopg.connect(empty_database_url, autocommit=True) as opened:
        count = append_every_form(opened)
        migrate(empty_database_url)
        assert_sealed_as_ever(opened, count + append_every_form(opened))
