"""First schema: tenants, keys, models, uploads, jobs, results, audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# Postgres 18 has uuidv7() of its own; before it, this stands in for it: 48 bits of milliseconds, 12 of their fraction
# (1 us is 4.1 of them), 62 of chance. One expression each, so that Postgres puts it where it is called.
UUIDV7 = r"""
DO $do$ BEGIN
    IF to_regprocedure('pg_catalog.uuidv7()') IS NULL THEN
        CREATE FUNCTION uuidv7(shift interval) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
            SELECT (overlay(
                lpad(to_hex((extract(epoch FROM clock_timestamp() + shift) * 1000000)::bigint * 512 / 125), 15, '0')
                PLACING '7' FROM 13 FOR 0) || substr(gen_random_uuid()::text, 20))::uuid
        $$;
        CREATE FUNCTION uuidv7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
            SELECT (overlay(
                lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 512 / 125), 15, '0')
                PLACING '7' FROM 13 FOR 0) || substr(gen_random_uuid()::text, 20))::uuid
        $$;
    END IF;
END $do$;
"""
# Only what was made here: in Postgres 18 the name means its own.
DROP_UUIDV7 = """
DO $do$ BEGIN
    IF to_regprocedure(format('%I.uuidv7()', current_schema())) IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION %I.uuidv7(), %I.uuidv7(interval)', current_schema(), current_schema());
    END IF;
END $do$;
"""

STATES = ("queued", "running", "succeeded", "failed", "canceled", "expired", "quarantined")
ENDED = "'succeeded', 'failed', 'canceled', 'expired', 'quarantined'"
CLOSING = "'job.succeeded', 'job.failed', 'job.canceled', 'job.expired'"
NOW = sa.text("now()")
NEW_ID = sa.text("uuidv7()")
TIME = sa.DateTime(timezone=True)

GUARD_JOB = """
CREATE FUNCTION job_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'the fence of job % cannot go back', OLD.id USING ERRCODE = 'MQ001';
    END IF;
    RAISE EXCEPTION 'job % is %: it cannot become %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'MQ002';
END $$;
CREATE TRIGGER job_guard BEFORE UPDATE ON job FOR EACH ROW WHEN (
    NEW.fence < OLD.fence
    OR (OLD.state IN ('succeeded', 'failed', 'canceled', 'expired') AND NEW.state <> OLD.state)
    OR (OLD.state = 'quarantined' AND NEW.state NOT IN ('quarantined', 'queued'))
) EXECUTE FUNCTION job_guard();
"""

# The database writes time, canonical bytes and leaf, so that no writer can give an event another's hash,
# and a worker whose clock is wrong cannot date it.
SEAL_EVENT = r"""
CREATE FUNCTION audit_event_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.occurred_at := clock_timestamp();
    NEW.canon := convert_to(
        '{"action":' || to_json(NEW.action)::text
        || ',"actor":' || to_json(NEW.actor)::text
        || ',"detail":' || NEW.detail::text
        || ',"id":"' || NEW.id::text
        || '","job_id":' || coalesce('"' || NEW.job_id::text || '"', 'null')
        || ',"object":' || coalesce(to_json(NEW.object)::text, 'null')
        || ',"occurred_at":"' || to_char(NEW.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","tenant_id":' || coalesce('"' || NEW.tenant_id::text || '"', 'null') || '}', 'UTF8');
    NEW.leaf := sha256('\x00'::bytea || NEW.canon);
    RETURN NEW;
END $$;
CREATE TRIGGER audit_event_seal BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_event_seal();

CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'MQ003';
END $$;
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse();
"""

# Jobs name tenants and model versions without foreign keys, so what they name must stay.
KEEP = """
CREATE FUNCTION row_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never deleted: jobs name them', TG_TABLE_NAME USING ERRCODE = 'MQ004';
END $$;
CREATE TRIGGER tenant_is_kept BEFORE DELETE OR TRUNCATE ON tenant FOR EACH STATEMENT EXECUTE FUNCTION row_is_kept();
CREATE TRIGGER model_version_is_kept BEFORE DELETE OR TRUNCATE ON model_version
    FOR EACH STATEMENT EXECUTE FUNCTION row_is_kept();
"""

# Rows of a queue change state several times in seconds: vacuum early, or claims wade through dead index entries.
TUNE = """
ALTER TABLE job SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
"""


def upgrade() -> None:
    """Create everything."""
    op.execute(UUIDV7)
    op.create_table(
        "tenant",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("data_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenant"),
        sa.UniqueConstraint("name", name="uq_tenant_name"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_api_key_tenant_id"),
    )
    op.create_index("ix_api_key_tenant_id", "api_key", ["tenant_id"])
    op.create_table(
        "model_version",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("manifest", postgresql.JSONB(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("published_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_version"),
        sa.UniqueConstraint("name", "version", name="uq_model_version_name_version"),
        sa.UniqueConstraint("digest", name="uq_model_version_digest"),
    )
    op.create_table(
        "model_alias",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("name", "alias", name="pk_model_alias"),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name="fk_model_alias_model_version_id"
        ),
    )
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("data_key", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_upload"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_upload_tenant_id"),
        sa.CheckConstraint("size_bytes >= 0", name="ck_upload_size"),
    )
    op.create_index("ix_upload_tenant_id", "upload", ["tenant_id"])
    _create_job()
    op.create_table(
        "job_result",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_result"),
    )
    _create_audit_event()
    op.execute(GUARD_JOB)
    op.execute(SEAL_EVENT)
    op.execute(KEEP)
    op.execute(TUNE)


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("rank_at", TIME, nullable=False),
        sa.Column("available_at", TIME, server_default=NOW, nullable=False),
        sa.Column("deadline_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("lease_expires_at", TIME),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("crash_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("claim_size", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "state",
            postgresql.ENUM(*STATES, name="job_state"),
            server_default=sa.text("'queued'"),
            nullable=False,
        ),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("upload_id", sa.Uuid()),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("context", sa.LargeBinary()),
        sa.Column("subject_digest", sa.LargeBinary()),
        sa.Column("idempotency_digest", sa.LargeBinary()),
        sa.Column("request_digest", sa.LargeBinary()),
        sa.Column("problem", postgresql.JSONB()),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name="fk_job_upload_id"),
        sa.CheckConstraint(
            "(state = 'running') = (lease_expires_at IS NOT NULL)", name="ck_job_lease_while_running"
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_owner IS NOT NULL)", name="ck_job_owner_while_running"
        ),
        sa.CheckConstraint(
            f"(state IN ({ENDED})) = (finished_at IS NOT NULL)", name="ck_job_finished_when_ended"
        ),
        sa.CheckConstraint("(payload IS NULL) <> (upload_id IS NULL)", name="ck_job_one_input"),
        sa.CheckConstraint("priority BETWEEN 0 AND 3", name="ck_job_priority"),
        sa.CheckConstraint("attempt >= 0 AND crash_count >= 0 AND fence >= attempt", name="ck_job_counters"),
        sa.CheckConstraint(
            "(idempotency_digest IS NULL) = (request_digest IS NULL)", name="ck_job_idempotency"
        ),
    )
    queued = "state = 'queued' AND "
    _partial("ix_job_fresh", ["model_version_id", "rank_at", "id"], queued + "attempt = 0")
    _partial("ix_job_retry", ["model_version_id", "available_at"], queued + "attempt > 0")
    # Not "state = 'running'", though it means the same: completions look for that state by id, and the planner must
    # not walk all running jobs for it.
    _partial("ix_job_lease", ["lease_expires_at"], "lease_expires_at IS NOT NULL")
    _partial("ix_job_deadline", ["deadline_at"], queued + "deadline_at IS NOT NULL")
    _partial(
        "ix_job_subject", ["tenant_id", "subject_digest", sa.text("id DESC")], "subject_digest IS NOT NULL"
    )
    _partial(
        "uq_job_idempotency",
        ["tenant_id", "idempotency_digest"],
        "idempotency_digest IS NOT NULL",
        unique=True,
    )
    op.create_index("ix_job_newest", "job", ["tenant_id", sa.text("id DESC")])


def _create_audit_event() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("occurred_at", TIME, nullable=False),
        sa.Column("tenant_id", sa.Uuid()),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text()),
        sa.Column("detail", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("canon", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_event"),
    )
    op.create_index(
        "ix_audit_event_job", "audit_event", ["job_id", "id"], postgresql_where=sa.text("job_id IS NOT NULL")
    )
    op.create_index(
        "uq_audit_event_closing",
        "audit_event",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text(f"action IN ({CLOSING})"),
    )


def _partial(name: str, columns: list[object], where: str, *, unique: bool = False) -> None:
    op.create_index(name, "job", columns, unique=unique, postgresql_where=sa.text(where))  # type: ignore[arg-type]


def downgrade() -> None:
    """Remove everything."""
    for table in (
        "audit_event",
        "job_result",
        "job",
        "upload",
        "model_alias",
        "model_version",
        "api_key",
        "tenant",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION job_guard(), audit_event_seal(), audit_event_refuse(), row_is_kept()")
    op.execute("DROP TYPE job_state")
    op.execute(DROP_UUIDV7)
