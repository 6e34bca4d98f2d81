"""Checks of Postgres, Redis and the blob store."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow
from redis.exceptions import RedisError

from service import grants, master_key, requirements
from service.broker import redis_fault
from service.cli.checks.finding import Examined, Finding, fail, ok, warn
from service.cli.checks.machine import DISK_FAIL_BYTES, free_bytes
from service.cli.db import schema_state
from service.cli.installation import on_embedded_postgres
from service.crypto import Keyring, binding
from service.database_faults import DatabaseFault, fault_of
from service.errors import PayloadUnreadable, SettingInvalid
from service.faults import REPORTED_FOR_S, Fault
from service.postgres_connection import connect as connect_to
from service.postgres_connection import is_pooled
from service.redis_client import SOCKET_TIMEOUT_S, redis_client
from service.schema import schema_revisions
from service.storage import FsspecBlobStore

LEAST_POSTGRES = 150_000  # server_version_num
LEAST_REDIS = (6, 2)
STOPPED = {DatabaseFault.UNREACHABLE, DatabaseFault.STARTING_UP, DatabaseFault.CONNECTION_LOST}
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
CLOCK_WARN = timedelta(seconds=1)
CLOCK_FAIL = timedelta(seconds=30)

STATE = """SELECT current_setting('server_version_num')::int, current_setting('server_version'),
    pg_is_in_recovery(), current_setting('transaction_read_only')::bool,
    current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
    clock_timestamp()"""
PROCESS_FAULTS = """SELECT process, setting, cause, advice FROM process_fault
    WHERE reported_at > now() - make_interval(secs => %(reported_for_s)s) ORDER BY process, name"""
TENANTS = "SELECT id, name, data_key FROM tenant ORDER BY id LIMIT 1000"


def connect(examined: Examined) -> psycopg.Connection[TupleRow]:
    """A connection of the checks' own. Raises psycopg.Error."""
    return connect_to(examined.settings.database_url)


def has_schema(examined: Examined) -> bool:
    """Whether Postgres answers and holds our tables, so that the checks of their content can be made."""
    try:
        with connect(examined) as connection:
            row = connection.execute("SELECT to_regclass('job') IS NOT NULL").fetchone()
    except psycopg.Error:
        return False
    return row is not None and bool(row[0])


def postgres(examined: Examined) -> Iterator[Finding]:
    """Whether Postgres answers, is new enough, loses no commit, and shares our clock."""
    if not examined.settings.database_url:
        yield fail(
            "postgres", "no address", "Start a stack with `medqueue up`, or set MEDQUEUE_DATABASE_URL."
        )
        return
    try:
        with connect(examined) as connection:
            asked = datetime.now(UTC)
            row = connection.execute(STATE).fetchone()
            answered = datetime.now(UTC)
            pooled = is_pooled(connection)
    except psycopg.Error as error:
        yield unusable("postgres", fault_of(error) or DatabaseFault.REFUSED, examined)
        return
    assert row is not None
    number, version, standby, read_only, *settings, clock = row
    yield postgres_version(number, version)
    if pooled:
        yield ok(
            "pooler", "one stands between: settings go with every transaction, statements are not prepared"
        )
    if standby or read_only:
        yield unusable("postgres", DatabaseFault.STANDBY if standby else DatabaseFault.READ_ONLY, examined)
    yield from durability(dict(zip(DURABLE, settings, strict=True)))
    yield clock_difference(clock - (asked + (answered - asked) / 2))


def unusable(check: str, fault: DatabaseFault, examined: Examined) -> Finding:
    """Why Postgres cannot be used, and what to do where it runs."""
    embedded = on_embedded_postgres()
    if embedded and fault in STOPPED and free_bytes(examined.data_dir) < DISK_FAIL_BYTES:
        fault = DatabaseFault.DISK_FULL  # it stops when it cannot write its log
    return fail(check, fault.found, fault.advice(embedded=embedded))


def postgres_version(number: int, version: str) -> Finding:
    """Whether the server is new enough."""
    if number < LEAST_POSTGRES:
        return fail("postgres", f"version {version}", "Upgrade the server to Postgres 15 or later.")
    return ok("postgres", f"answers, version {version}")


def durability(settings: dict[str, str]) -> Iterator[Finding]:
    """Whether a commit is on disk when it is answered."""
    off = [name for name, value in settings.items() if value == "off"]
    for name in off:
        yield fail("durability", f"{name} is off: a crash may lose accepted jobs", f"Set {name} = on.")
    if not off:
        yield ok("durability", ", ".join(f"{name} {value}" for name, value in settings.items()))


def clock_difference(difference: timedelta) -> Finding:
    """How far Postgres' clock is ahead of ours: deadlines and leases are told by it."""
    found = f"Postgres is {difference.total_seconds():+.3f} s ahead"
    advice = "Let both machines keep time with NTP (chrony or systemd-timesyncd)."
    if abs(difference) >= CLOCK_FAIL:
        return fail("clock", found, advice)
    return warn("clock", found, advice) if abs(difference) >= CLOCK_WARN else ok("clock", found)


def schema(examined: Examined) -> Iterator[Finding]:
    """Whether the database has the schema that this release needs; nothing where Postgres does not answer."""
    try:
        connect(examined).close()
    except psycopg.Error:
        return
    current, needed = schema_revisions(examined.settings.database_url)
    found = f"revision {current or 'none'}, this release needs {needed}"
    if schema_state(current, needed) == "ok":
        yield ok("schema", found)
    else:
        yield fail("schema", found, "Run `medqueue db upgrade`.")


def privileges(examined: Examined) -> Iterator[Finding]:
    """Whether our role may do what processes and commands do; nothing where Postgres does not answer."""
    try:
        lacked = [lacks(examined, needs) for needs in (grants.PROCESSES, grants.COMMANDS)]
    except (psycopg.Error, SettingInvalid):
        return
    advice = DatabaseFault.PERMISSION_DENIED.advice(embedded=on_embedded_postgres())
    by_processes, by_commands = lacked
    if by_processes:
        yield fail("privileges", f"the role lacks {by_processes}", advice)
    if by_commands:
        yield warn(
            "privileges", f"for `medqueue keys` and `medqueue models` the role lacks {by_commands}", advice
        )
    if not any(lacked):
        yield ok("privileges", "the role may do what this release does")


def lacks(examined: Examined, needs: Mapping[str, str]) -> str | None:
    """What our role lacks of `needs`. Raises psycopg.Error."""
    with connect(examined) as connection:
        row = connection.execute(grants.lacking(needs).encode()).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


def can_look_up_keys(examined: Examined) -> bool:
    """Whether Postgres answers, has the schema of this release, and lets our role do what processes do."""
    try:
        granted = lacks(examined, grants.PROCESSES) is None
        return granted and schema_state(*schema_revisions(examined.settings.database_url)) == "ok"
    except (psycopg.Error, sa.exc.SQLAlchemyError, SettingInvalid):
        return False


def data_keys(examined: Examined) -> Iterator[Finding]:
    """Whether the master key opens the data key of every tenant."""
    try:
        keyring = Keyring(examined.settings.master_key_bytes())
    except (SettingInvalid, OSError):
        return
    with connect(examined) as connection:
        check = _key_check(connection)
        tenants = connection.execute(TENANTS).fetchall()
    closed = [name for tenant_id, name, key in tenants if not _opens(keyring, tenant_id, key)]
    advice = "Restore the master key under which the data was sealed. This one cannot read it."
    if check is not None and not master_key.opens(keyring, check):
        yield fail("data keys", "the master key is not the one that this database belongs to", advice)
    for name in closed:
        yield fail("data keys", f"the master key does not open the data of tenant {name}", advice)
    if not closed and (check is None or master_key.opens(keyring, check)):
        yield ok("data keys", f"the master key opens the data of {counted(len(tenants), 'tenant')}")


def _key_check(connection: psycopg.Connection[TupleRow]) -> bytes | None:
    """The key check of the database; None before the first process of this release."""
    if connection.execute("SELECT to_regclass('key_check')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT sealed FROM key_check").fetchone()
    return None if row is None else bytes(row[0])


def _opens(keyring: Keyring, tenant_id: UUID, data_key: bytes) -> bool:
    try:
        keyring.unwrapped(data_key, binding("tenant.data_key", tenant_id, tenant_id))
    except PayloadUnreadable:
        return False
    return True


def redis(examined: Examined) -> Iterator[Finding]:
    """Whether Redis takes wake-ups and gives them, is new enough, and throws none away."""
    if not examined.settings.redis_url:
        yield fail("redis", "no address", "Start a stack with `medqueue up`, or set MEDQUEUE_REDIS_URL.")
        return
    fault = redis_fault(examined.settings.redis_url, timeout_s=SOCKET_TIMEOUT_S)
    if fault is not None:
        advice = f"{fault.advice} Meanwhile workers look for jobs by themselves, within about a second."
        yield fail("redis", f"takes no wake-ups: {fault.value}", advice)
        return
    try:
        client = redis_client(examined.settings.redis_url)
        with closing(client.connection_pool):  # leaving a client leaves the pool that it was given open
            state = client.info()
    except (RedisError, OSError):
        yield ok("redis", "takes and gives messages; this user may not ask for its version (INFO)")
        return
    yield redis_version(str(state["redis_version"]))
    yield eviction(str(state.get("maxmemory_policy", "unknown")))


def redis_version(version: str) -> Finding:
    """Whether the server is new enough."""
    parts = tuple(int(part) for part in version.split(".")[:2])
    if parts < LEAST_REDIS:
        return warn("redis", f"version {version}", "Upgrade the server to Redis 6.2 or later.")
    return ok("redis", f"takes and gives messages, version {version}")


def eviction(policy: str) -> Finding:
    """Whether Redis would throw wake-ups away when its memory is full."""
    if policy == "noeviction":
        return ok("redis eviction", policy)
    advice = (
        "Set maxmemory-policy noeviction: a wake-up that is thrown away delays its jobs until the next sweep."
    )
    return warn("redis eviction", f"maxmemory-policy {policy}", advice)


def blob_store(examined: Examined) -> Iterator[Finding]:
    """Whether a blob can be written, read back and removed; nothing before the first start."""
    if not (examined.settings.blob_url or examined.data_dir.exists()):
        return
    settings = examined.settings
    where = settings.blob_location.partition("://")[0]
    try:
        blobs = FsspecBlobStore(settings.blob_location)
    except SettingInvalid as error:
        yield fail("blob store", error.detail, f"Correct {error.variable}.")
        return
    fault = requirements.blob_store(blobs, settings.blob_setting, f"doctor-{uuid4().hex}")
    if fault is None:
        yield ok("blob store", f"{where}: a blob was written, read and removed")
    else:
        yield as_finding("blob store", fault)


def processes(examined: Examined) -> Iterator[Finding]:
    """What processes of all hosts say that keeps them from their work; nothing when all can work."""
    with connect(examined) as connection:
        if connection.execute("SELECT to_regclass('process_fault')").fetchone() == (None,):
            return
        rows = connection.execute(PROCESS_FAULTS, {"reported_for_s": REPORTED_FOR_S}).fetchall()
    for process, setting, cause, advice in rows:
        yield fail("processes", f"{process}: {setting}: {cause}", advice)


def as_finding(check: str, fault: Fault) -> Finding:
    """A fault of what processes need, as a finding."""
    return fail(check, f"{fault.setting}: {fault.cause}", fault.advice)


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
