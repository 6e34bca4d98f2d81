"""The privileges that the application needs in its schema, table by table, and a query for those its role lacks.

A role may hold more, but no right to change or remove what is in an append-only table.
"""

from collections.abc import Mapping

# What API, workers and scheduler use. A statement with FOR UPDATE needs UPDATE.
PROCESSES: Mapping[str, str] = {
    "alembic_version": "SELECT",
    "api_key": "SELECT",
    "artifact": "SELECT INSERT",
    "audit_event": "SELECT INSERT",
    "batch": "SELECT INSERT UPDATE",
    "batch_chunk": "SELECT INSERT UPDATE",
    "batch_schedule": "SELECT INSERT UPDATE",
    "batch_step": "SELECT INSERT UPDATE",
    "blob_removal": "SELECT INSERT UPDATE DELETE",
    "job": "SELECT INSERT UPDATE",
    "job_after": "SELECT INSERT",
    "job_input": "SELECT INSERT",
    "job_partial_text": "SELECT INSERT UPDATE DELETE",
    "job_result": "SELECT INSERT",
    "key_check": "SELECT INSERT",
    "last_sweep": "SELECT INSERT UPDATE",
    "model_alias": "SELECT",
    "model_version": "SELECT",
    "process_fault": "SELECT INSERT UPDATE DELETE",
    "tenant": "SELECT UPDATE",
    "upload": "SELECT INSERT",
    "webhook_delivery": "SELECT INSERT UPDATE",
    "webhook_endpoint": "SELECT INSERT UPDATE",
    "webhook_secret": "SELECT INSERT UPDATE",
    "webhook_try": "SELECT INSERT",
}
# What `medqueue keys` and `medqueue models` use beyond that.
COMMANDS: Mapping[str, str] = {
    "api_key": "INSERT UPDATE",
    "model_alias": "INSERT UPDATE",
    "model_version": "INSERT",
    "tenant": "INSERT",
}
APPEND_ONLY = "audit_event"
# Of our own before Postgres 18. There are no sequences.
FUNCTIONS = ("uuidv7()", "uuidv7(interval)")


def lacking(needs: Mapping[str, str]) -> str:
    """A statement that answers, in one row, what the current role lacks of `needs`; null: nothing.

    A table that is not there is left to the test of the schema. Without USAGE on its schema none is there.
    """
    tables = ", ".join(
        f"('{table}', '{privilege}')"
        for table, privileges in needs.items()
        for privilege in privileges.split()
    )
    functions = ", ".join(f"('{function}')" for function in FUNCTIONS)
    return f"""
SELECT string_agg(lack, ', ' ORDER BY lack) AS missing FROM (
    SELECT privilege || ' on ' || name FROM (VALUES {tables}) AS needed (name, privilege)
    WHERE NOT has_table_privilege(to_regclass(name), privilege)
    UNION ALL
    SELECT 'EXECUTE on function ' || name FROM (VALUES {functions}) AS needed (name)
    WHERE NOT has_function_privilege(to_regprocedure(name), 'EXECUTE')
    UNION ALL
    SELECT 'USAGE on schema ' || space.nspname FROM pg_namespace AS space JOIN pg_class ON relnamespace = space.oid
    WHERE relname = 'batch_chunk' AND to_regclass(relname::text) IS NULL AND NOT has_schema_privilege(space.oid, 'USAGE')
) AS found (lack)
"""  # noqa: S608 - put together from constants
