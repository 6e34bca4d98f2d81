"""Jobs that wait for other jobs, or for a time: the state `waiting`, who waits for whom, and what releases or ends them.

Works while the previous release runs: it submits no job that waits, and whatever it ends releases those that wait for it.
It says of no success whether its model abstained, so a job that waits for one of its successes fails. Safe to run again
after it broke off.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None

GUARD = """
CREATE OR REPLACE TRIGGER job_guard BEFORE UPDATE ON job FOR EACH ROW WHEN (
    NEW.fence < OLD.fence
    OR (OLD.state IN ('succeeded', 'failed', 'canceled', 'expired') AND NEW.state <> OLD.state)
    OR (OLD.state = 'quarantined' AND NEW.state NOT IN ('quarantined', 'queued')){waiting}
) EXECUTE FUNCTION job_guard()
"""
OF_WAITING = """
    OR (OLD.state = 'waiting' AND NEW.state IN ('running', 'succeeded', 'quarantined'))
    OR (NEW.state = 'waiting' AND OLD.state <> 'waiting')"""

# Looks at the jobs that wait for those that have ended, level by level: a job's depth is greater than that of everything
# it waits for, so whoever comes here locks rows in the same order. Each query sees what was committed before it, and so
# what others ended while a lock was waited for. It reads states and counts nothing, so it may be called again.
FOLLOW = """
CREATE OR REPLACE FUNCTION job_follow(predecessors uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    reached uuid[] := ARRAY(SELECT job_id FROM job_after WHERE predecessor_id = ANY (predecessors));
    level smallint := -1;
    looked_at uuid[];
    failed_now uuid[];
    held_up uuid[];
BEGIN
    LOOP
        SELECT min(depth) INTO level FROM job
        WHERE id = ANY (reached) AND state = 'waiting' AND blocked AND depth > level;
        EXIT WHEN level IS NULL;
        looked_at := ARRAY(
            SELECT id FROM job WHERE id = ANY (reached) AND state = 'waiting' AND blocked AND depth = level
            ORDER BY id FOR UPDATE
        );
        WITH causes AS MATERIALIZED (
            SELECT DISTINCT ON (job_after.job_id) job_after.job_id, predecessor.id AS predecessor_id,
                CASE WHEN predecessor.state <> 'succeeded' THEN predecessor.state::text
                     WHEN predecessor.abstained THEN 'abstained' ELSE 'unknown' END AS how
            FROM job_after JOIN job AS predecessor ON predecessor.id = job_after.predecessor_id
                AND predecessor.id = ANY (ARRAY(SELECT predecessor_id FROM job_after WHERE job_id = ANY (looked_at)))
            WHERE job_after.job_id = ANY (looked_at) AND (predecessor.state IN ('failed', 'canceled', 'expired')
                OR (predecessor.state = 'succeeded' AND predecessor.abstained IS NOT FALSE))
            ORDER BY job_after.job_id, job_after.position
        ), failed AS (
            UPDATE job SET state = 'failed', blocked = false, finished_at = now(), problem = jsonb_build_object(
                'code', 'predecessor_failed', 'detail', 'Job ' || causes.predecessor_id || ', which this one waits for, '
                || CASE causes.how WHEN 'failed' THEN 'failed.' WHEN 'canceled' THEN 'was canceled.'
                        WHEN 'expired' THEN 'expired.' WHEN 'abstained' THEN 'abstained.'
                        ELSE 'was scored by a release that did not record whether the model abstained.' END
                || ' Read that job, then submit both again.')
            FROM causes
            WHERE job.id = ANY (ARRAY(SELECT job_id FROM causes)) AND job.id = causes.job_id
            RETURNING job.id, job.tenant_id, job.callback_endpoint_id, job.attempt, job.fence,
                causes.predecessor_id, causes.how
        ), events AS (
            INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
            SELECT tenant_id, id, 'job:' || predecessor_id, 'job.failed',
                   jsonb_build_object('attempt', attempt, 'fence', fence, 'code', 'predecessor_failed',
                                      'predecessor', predecessor_id, 'predecessor_ended', how)
            FROM failed RETURNING id, tenant_id, job_id, batch_id, action
        ), deliveries AS (
    INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, event_type, job_id, batch_id)
    SELECT events.tenant_id, endpoint.id, events.id, events.action, events.job_id, events.batch_id
    FROM events JOIN webhook_endpoint AS endpoint ON endpoint.tenant_id = events.tenant_id
        AND endpoint.tenant_id = ANY (ARRAY(SELECT tenant_id FROM events))
        AND endpoint.kind = 'registered' AND endpoint.state = 'enabled'
        AND events.action = ANY (endpoint.event_types)
    UNION ALL
    SELECT events.tenant_id, endpoint.id, events.id, events.action, events.job_id, events.batch_id
    FROM events JOIN failed AS changed ON changed.id = events.job_id
        JOIN webhook_endpoint AS endpoint ON endpoint.id = changed.callback_endpoint_id
            AND endpoint.id = ANY (ARRAY(SELECT callback_endpoint_id FROM failed))
            AND endpoint.state = 'enabled'
    WHERE events.action IN ('job.succeeded', 'job.failed', 'job.canceled', 'job.expired', 'job.quarantined')
    RETURNING id
)
        SELECT array_agg(id) INTO failed_now FROM failed;
        held_up := ARRAY(
            SELECT job_after.job_id FROM job_after JOIN job AS predecessor ON predecessor.id = job_after.predecessor_id
                AND predecessor.id = ANY (ARRAY(SELECT predecessor_id FROM job_after WHERE job_id = ANY (looked_at)))
            WHERE job_after.job_id = ANY (looked_at) AND predecessor.state <> 'succeeded'
        );
        WITH freed AS (
            UPDATE job SET blocked = false,
                state = CASE WHEN available_at > now() THEN state ELSE 'queued' END,
                rank_at = CASE WHEN available_at > now() THEN rank_at
                    ELSE now() + make_interval(secs => extract(epoch FROM rank_at - available_at)::float8) END,
                promise_at = CASE WHEN available_at > now() THEN promise_at
                    ELSE now() + make_interval(secs => extract(epoch FROM promise_at - available_at)::float8) END,
                available_at = greatest(available_at, now())
            WHERE id = ANY (looked_at) AND state = 'waiting' AND id <> ALL (held_up)
            RETURNING id, tenant_id, state
        )
        INSERT INTO audit_event (tenant_id, job_id, actor, action)
        SELECT tenant_id, id, 'scheduler', 'job.ready' FROM freed WHERE state = 'queued';
        reached := reached || ARRAY(SELECT job_id FROM job_after WHERE predecessor_id = ANY (failed_now));
    END LOOP;
END $$
"""
# The condition keeps the function out of every update but those that end a job that others wait for. It is called for
# each such row, and the first call does it for all rows of the statement, so that there is one order of locks.
ENDED_TRIGGER = """
CREATE OR REPLACE FUNCTION job_ended() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended uuid[] := ARRAY(
        SELECT id FROM changed WHERE followed AND state IN ('succeeded', 'failed', 'canceled', 'expired') ORDER BY id
    );
BEGIN
    IF NEW.id = ended[1] THEN
        PERFORM job_follow(ended);
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER job_ended AFTER UPDATE ON job REFERENCING NEW TABLE AS changed FOR EACH ROW
    WHEN (NEW.followed AND NEW.state IN ('succeeded', 'failed', 'canceled', 'expired') AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION job_ended();
"""
END_WAITING = """
WITH canceled AS (
    UPDATE job SET state = 'canceled', finished_at = now() WHERE state = 'waiting' RETURNING id, tenant_id, attempt, fence
)
INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
SELECT tenant_id, id, 'operator:downgrade', 'job.canceled', jsonb_build_object('attempt', attempt, 'fence', fence) FROM canceled
"""

INDEXES = (
    ("ix_job_due", ["available_at"], "state = 'waiting' AND NOT blocked"),
    ("ix_job_waiting", ["deadline_at", "tenant_id"], "state = 'waiting'"),
)


def upgrade() -> None:
    """Add the state, the columns, the table, the indexes and the triggers."""
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE job_state ADD VALUE IF NOT EXISTS 'waiting' BEFORE 'queued'")
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in _columns():
        op.add_column("job", column, if_not_exists=True)
    op.create_table(
        "job_after",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("predecessor_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "predecessor_id", name="pk_job_after"),
        if_not_exists=True,
    )
    op.create_index("ix_job_after_predecessor", "job_after", ["predecessor_id", "job_id"], if_not_exists=True)
    with op.get_context().autocommit_block():
        for name, columns, where in INDEXES:
            op.drop_index(name, "job", postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name, "job", columns, postgresql_where=sa.text(where), postgresql_concurrently=True
            )
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(GUARD.format(waiting=OF_WAITING))
    op.execute(FOLLOW)
    op.execute(ENDED_TRIGGER)


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("depth", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("blocked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("followed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("abstained", sa.Boolean()),
        sa.Column("not_before", sa.DateTime(timezone=True)),
    ]


def downgrade() -> None:
    """Cancel what waits and forget who waited for whom. The type keeps the state: Postgres removes none."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TRIGGER IF EXISTS job_ended ON job")
    op.execute("DROP FUNCTION IF EXISTS job_ended(), job_follow(uuid[])")
    op.execute(END_WAITING)
    with op.get_context().autocommit_block():
        for name, *_ in INDEXES:
            op.drop_index(name, "job", postgresql_concurrently=True, if_exists=True)
    op.execute(GUARD.format(waiting=""))
    op.drop_table("job_after", if_exists=True)
    for column in _columns():
        op.drop_column("job", column.name, if_exists=True)
