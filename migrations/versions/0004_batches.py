"""Batches: their steps, chunks and schedules; what the trail and deliveries say of them.

Works while the previous release runs: it writes no batch, and events without one have the canonical bytes that they had.
Safe to run again after it broke off.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NEW_ID = sa.text("uuidv7()")
ZERO = sa.text("0")
BATCH_STATES = (
    *("validating", "scheduled", "running", "pausing", "paused"),
    *("finalizing", "completed", "failed", "canceled", "expired"),
)
CHUNK_STATES = ("queued", "running", "done", "quarantined", "skipped")
ENDED = "'completed', 'failed', 'canceled', 'expired'"
CLOSING = "'batch.completed', 'batch.failed', 'batch.canceled', 'batch.expired'"
LEASED = "(state = 'running') = (lease_expires_at IS NOT NULL)"
OWNED = "(state = 'running') = (lease_owner IS NOT NULL)"
COUNTED = "attempt >= 0 AND crash_count >= 0 AND fence >= attempt"
WINDOW = "(window_hours IS NULL) = (window_zone IS NULL)"
EDGES = ", ".join(
    f"'{before}>{after}'"
    for before, nexts in {
        "validating": "scheduled failed canceled expired",
        "scheduled": "running paused canceled expired",
        "running": "scheduled pausing paused finalizing failed canceled expired",
        "pausing": "running paused finalizing failed canceled expired",
        "paused": "scheduled canceled expired",
        "finalizing": "completed failed canceled",
    }.items()
    for after in nexts.split()
)

# The only writer of a state's time, so that no statement can forget it.
GUARD_BATCH = f"""
CREATE FUNCTION batch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state || '>' || NEW.state NOT IN ({EDGES}) THEN
        RAISE EXCEPTION 'batch % is %: it cannot become %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'MQ002';
    END IF;
    CASE NEW.state
        WHEN 'scheduled' THEN NEW.scheduled_at := now();
        WHEN 'running' THEN NEW.started_at := coalesce(OLD.started_at, now()); NEW.resumed_at := now();
        WHEN 'pausing' THEN NEW.pausing_at := now();
        WHEN 'paused' THEN NEW.paused_at := now();
        WHEN 'finalizing' THEN NEW.finalizing_at := now();
        ELSE NEW.finished_at := now();
    END CASE;
    RETURN NEW;
END $$;
CREATE TRIGGER batch_guard BEFORE UPDATE ON batch FOR EACH ROW WHEN (NEW.state <> OLD.state)
    EXECUTE FUNCTION batch_guard();
"""

GUARD_WORK = """
CREATE FUNCTION batch_work_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'the fence of % % cannot go back', TG_TABLE_NAME, OLD.id USING ERRCODE = 'MQ001';
    END IF;
    RAISE EXCEPTION '% % is %: it cannot become %', TG_TABLE_NAME, OLD.id, OLD.state, NEW.state USING ERRCODE = 'MQ002';
END $$;
"""
GUARDED_WORK = """
CREATE TRIGGER {table}_guard BEFORE UPDATE ON {table} FOR EACH ROW WHEN (
    NEW.fence < OLD.fence OR (OLD.state IN ('done', 'quarantined', 'skipped') AND NEW.state <> OLD.state)
) EXECUTE FUNCTION batch_work_guard();
"""

SEAL_EVENT = r"""
CREATE OR REPLACE FUNCTION audit_event_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.occurred_at := clock_timestamp();
    NEW.canon := convert_to(
        '{"action":' || to_json(NEW.action)::text
        || ',"actor":' || to_json(NEW.actor)::text{batch}
        || ',"detail":' || NEW.detail::text
        || ',"id":"' || NEW.id::text
        || '","job_id":' || coalesce('"' || NEW.job_id::text || '"', 'null')
        || ',"object":' || coalesce(to_json(NEW.object)::text, 'null')
        || ',"occurred_at":"' || to_char(NEW.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","tenant_id":' || coalesce('"' || NEW.tenant_id::text || '"', 'null') || '}', 'UTF8');
    NEW.leaf := sha256('\x00'::bytea || NEW.canon);
    RETURN NEW;
END $$;
"""
SAYS_BATCH = """
        || coalesce(',"batch_id":"' || NEW.batch_id::text || '"', '')"""

# A batch's row changes twice a chunk, in place when there is room; chunks are vacuumed early, as jobs are.
TUNE = """
ALTER TABLE batch SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE batch_chunk SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000, autovacuum_analyze_scale_factor = 0.05);
"""
ON_GROWING_TABLES: tuple[tuple[str, str, list[str], bool, str], ...] = (
    ("ix_audit_event_batch", "audit_event", ["batch_id", "id"], False, "batch_id IS NOT NULL"),
    ("uq_audit_event_batch_closing", "audit_event", ["batch_id"], True, f"action IN ({CLOSING})"),
    ("ix_webhook_delivery_batch", "webhook_delivery", ["batch_id"], False, "batch_id IS NOT NULL"),
)


def upgrade() -> None:
    """Add the tables, their guards, and the batch of an event and of a delivery."""
    if not sa.inspect(op.get_bind()).has_table("batch"):
        _create_schedule()
        _create_batch()
        _create_step()
        _create_chunk()
        op.execute(GUARD_BATCH + GUARD_WORK)
        op.execute("".join(GUARDED_WORK.format(table=table) for table in ("batch_step", "batch_chunk")))
        op.execute(TUNE)
    for table in ("audit_event", "webhook_delivery"):
        op.add_column(table, sa.Column("batch_id", sa.Uuid()), if_not_exists=True)
    op.execute(SEAL_EVENT.replace("{batch}", SAYS_BATCH))
    with op.get_context().autocommit_block():
        for name, table, columns, unique, where in ON_GROWING_TABLES:
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
            op.create_index(
                *(name, table, columns),
                unique=unique,
                postgresql_where=sa.text(where),
                postgresql_concurrently=True,
            )


def _create_schedule() -> None:
    op.create_table(
        "batch_schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *_texts("name", "cron", "zone", "model", "submitted_by", nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        *_texts("window_hours", "window_zone"),
        sa.Column("deadline_after_s", sa.Integer()),
        sa.Column("error_limit", sa.BigInteger()),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        *_times("paused_at", "deleted_at"),
        sa.Column("next_run_at", TIME, nullable=False),
        *_times("last_run_at"),
        sa.Column("last_problem", postgresql.JSONB()),
        sa.PrimaryKeyConstraint("id", name="pk_batch_schedule"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_batch_schedule_tenant_id"),
        sa.CheckConstraint(WINDOW, name="ck_batch_schedule_window"),
        sa.CheckConstraint("deadline_after_s > 0", name="ck_batch_schedule_deadline"),
        sa.CheckConstraint("error_limit >= 0", name="ck_batch_schedule_error_limit"),
    )
    _index(
        "uq_batch_schedule_name",
        "batch_schedule",
        "tenant_id",
        "name",
        where="deleted_at IS NULL",
        unique=True,
    )
    _index(
        "ix_batch_schedule_due",
        "batch_schedule",
        "next_run_at",
        where="paused_at IS NULL AND deleted_at IS NULL",
    )


def _create_batch() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid()),
        *_times("scheduled_for"),
        sa.Column("rerun_of", sa.Uuid()),
        sa.Column(
            "state",
            postgresql.ENUM(*BATCH_STATES, name="batch_state"),
            server_default=sa.text("'validating'"),
            nullable=False,
        ),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        *_times("scheduled_at", "started_at", "resumed_at", "pausing_at", "paused_at", "finalizing_at"),
        *_times("finished_at"),
        *_texts("window_hours", "window_zone"),
        *_times("not_before", "deadline_at"),
        sa.Column("open_from", TIME, nullable=False),
        *_times("open_until", "claimed_at", "told_at", "at_risk_until"),
        sa.Column("source_bytes", sa.BigInteger()),
        sa.Column("rows_total", sa.BigInteger()),
        sa.Column("rows_succeeded", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("rows_failed", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("error_limit", sa.BigInteger()),
        sa.Column("chunk_rows", sa.Integer()),
        sa.Column("run_rows", sa.Integer()),
        sa.Column("chunks_total", sa.Integer()),
        sa.Column("chunks_done", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("chunks_running", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("told_tenths", sa.SmallInteger(), server_default=ZERO, nullable=False),
        *_texts("submitted_by", nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("data_key", sa.LargeBinary(), nullable=False),
        sa.Column("layout", sa.LargeBinary()),
        *_texts("source_sha256"),
        *_tables("results", "errors"),
        sa.Column("idempotency_digest", sa.LargeBinary()),
        sa.Column("request_digest", sa.LargeBinary()),
        *_tables("problem"),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_batch_tenant_id"),
        sa.ForeignKeyConstraint(["model_version_id"], ["model_version.id"], name="fk_batch_model_version_id"),
        sa.ForeignKeyConstraint(["schedule_id"], ["batch_schedule.id"], name="fk_batch_schedule_id"),
        sa.ForeignKeyConstraint(["rerun_of"], ["batch.id"], name="fk_batch_rerun_of"),
        sa.CheckConstraint(
            f"(state IN ({ENDED})) = (finished_at IS NOT NULL)", name="ck_batch_finished_when_ended"
        ),
        sa.CheckConstraint(WINDOW, name="ck_batch_window"),
        sa.CheckConstraint(
            "(idempotency_digest IS NULL) = (request_digest IS NULL)", name="ck_batch_idempotency"
        ),
        sa.CheckConstraint("(schedule_id IS NULL) = (scheduled_for IS NULL)", name="ck_batch_schedule"),
        sa.CheckConstraint("error_limit >= 0", name="ck_batch_error_limit"),
        sa.CheckConstraint(
            "chunks_running >= 0 AND chunks_done >= 0 AND chunks_running + chunks_done <= chunks_total",
            name="ck_batch_chunks",
        ),
        sa.CheckConstraint(
            "rows_succeeded >= 0 AND rows_failed >= 0 AND rows_succeeded + rows_failed <= rows_total",
            name="ck_batch_rows",
        ),
        sa.CheckConstraint(
            "state <> 'completed' OR (rows_succeeded + rows_failed = rows_total AND chunks_done = chunks_total)",
            name="ck_batch_accounted",
        ),
        sa.CheckConstraint(
            "state <> 'paused' OR chunks_running = 0", name="ck_batch_nobody_scores_while_paused"
        ),
    )
    _index("ix_batch_live", "batch", "open_from", where="state IN ('scheduled', 'running')")
    _index(
        *("ix_batch_deadline", "batch", "deadline_at"),
        where="deadline_at IS NOT NULL AND state IN ('validating', 'scheduled', 'running', 'pausing', 'paused')",
    )
    op.create_index("ix_batch_newest", "batch", ["tenant_id", sa.text("id DESC")])
    _index("ix_batch_rerun", "batch", "rerun_of", where="rerun_of IS NOT NULL")
    _index(
        "uq_batch_run", "batch", "schedule_id", "scheduled_for", where="schedule_id IS NOT NULL", unique=True
    )
    _index(
        *("uq_batch_idempotency", "batch", "tenant_id", "idempotency_digest"),
        where="idempotency_digest IS NOT NULL",
        unique=True,
    )


def _create_step() -> None:
    op.create_table(
        "batch_step",
        *_work_columns(),
        *_texts("kind", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batch_step"),
        sa.CheckConstraint("kind IN ('validate', 'finalize')", name="ck_batch_step_kind"),
        sa.CheckConstraint(LEASED, name="ck_batch_step_lease_while_running"),
        sa.CheckConstraint(OWNED, name="ck_batch_step_owner_while_running"),
        sa.CheckConstraint(COUNTED, name="ck_batch_step_counters"),
    )
    op.create_index("uq_batch_step_once", "batch_step", ["batch_id", "kind"], unique=True)
    _index("ix_batch_step_due", "batch_step", "available_at", where="state = 'queued'")
    _index("ix_batch_step_lease", "batch_step", "lease_expires_at", where="lease_expires_at IS NOT NULL")


def _create_chunk() -> None:
    op.create_table(
        "batch_chunk",
        *_work_columns(),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("rows_succeeded", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("rows_failed", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("seek", sa.LargeBinary(), nullable=False),
        *_tables("results", "errors", "problem"),
        sa.PrimaryKeyConstraint("id", name="pk_batch_chunk"),
        sa.CheckConstraint(LEASED, name="ck_batch_chunk_lease_while_running"),
        sa.CheckConstraint(OWNED, name="ck_batch_chunk_owner_while_running"),
        sa.CheckConstraint(
            "(state IN ('done', 'quarantined')) = (finished_at IS NOT NULL)",
            name="ck_batch_chunk_finished_when_ended",
        ),
        sa.CheckConstraint(COUNTED, name="ck_batch_chunk_counters"),
        sa.CheckConstraint("number >= 0 AND first_row >= 0 AND rows > 0", name="ck_batch_chunk_place"),
        sa.CheckConstraint(
            "rows_succeeded >= 0 AND rows_failed >= 0"
            " AND (finished_at IS NULL OR rows_succeeded + rows_failed = rows)",
            name="ck_batch_chunk_accounted",
        ),
    )
    op.create_index("uq_batch_chunk_number", "batch_chunk", ["batch_id", "number"], unique=True)
    _index(
        "ix_batch_chunk_due", "batch_chunk", "batch_id", "available_at", "number", where="state = 'queued'"
    )
    _index("ix_batch_chunk_lease", "batch_chunk", "lease_expires_at", where="lease_expires_at IS NOT NULL")
    _index(
        "ix_batch_chunk_finished", "batch_chunk", "batch_id", "finished_at", where="finished_at IS NOT NULL"
    )


def _work_columns() -> list[sa.Column[object]]:
    if not _type_exists("chunk_state"):
        postgresql.ENUM(*CHUNK_STATES, name="chunk_state").create(op.get_bind())
    return [
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            postgresql.ENUM(*CHUNK_STATES, name="chunk_state", create_type=False),
            server_default=sa.text("'queued'"),
            nullable=False,
        ),
        sa.Column("available_at", TIME, server_default=NOW, nullable=False),
        *_times("started_at", "finished_at", "lease_expires_at"),
        sa.Column("fence", sa.BigInteger(), server_default=ZERO, nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=ZERO, nullable=False),
        sa.Column("crash_count", sa.Integer(), server_default=ZERO, nullable=False),
        *_texts("lease_owner"),
    ]


def _type_exists(name: str) -> bool:
    query = sa.text("SELECT EXISTS (SELECT FROM pg_type WHERE typname = :name)")
    return bool(op.get_bind().execute(query, {"name": name}).scalar())


def _texts(*names: str, nullable: bool = True) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def _tables(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, postgresql.JSONB()) for name in names]


def _times(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, TIME) for name in names]


def _index(name: str, table: str, *columns: str, where: str, unique: bool = False) -> None:
    op.create_index(name, table, list(columns), unique=unique, postgresql_where=sa.text(where))


def downgrade() -> None:
    """Forget batches; events of the audit trail stay."""
    with op.get_context().autocommit_block():
        for name, table, *_ in ON_GROWING_TABLES:
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
    op.execute(SEAL_EVENT.replace("{batch}", ""))
    for table in ("webhook_delivery", "audit_event"):
        op.drop_column(table, "batch_id", if_exists=True)
    for table in ("batch_chunk", "batch_step", "batch", "batch_schedule"):
        op.drop_table(table, if_exists=True)
    op.execute("DROP FUNCTION IF EXISTS batch_guard(), batch_work_guard()")
    op.execute("DROP TYPE IF EXISTS batch_state, chunk_state")
