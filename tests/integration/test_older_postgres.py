"""What the database does, on the older majors that are supported beside 18: a part of the tests run once more.

Where the system has no such package there is nothing to run on; nothing is installed for it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import older_postgres

# What a major may take or plan otherwise: the schema, the statements of jobs and batches, every plan.
PARTS = (
    *("migrations", "job_execution", "query_plans", "list_plans"),
    *("batch_claims", "batch_life", "batch_plans", "webhook_plans", "feed_plans"),
)
REST = ("overdue_jobs", "webhook_deliveries")  # half of the CPU; with `--faults full`
HERE = Path(__file__).parent


@pytest.mark.timeout(900)
@pytest.mark.parametrize("major", older_postgres.MAJORS)
def test_migrations_jobs_batches_webhooks_and_plans_are_good_on_an_older_major(
    major: int, full: bool
) -> None:
    programs = older_postgres.installed().get(major)
    if programs is None:
        pytest.skip(f"Debian's package postgresql-{major} is not installed")
    parts = [str(HERE / f"test_{part}.py") for part in (*PARTS, *(REST if full else ()))]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--postgres-programs", programs, *parts],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        cwd=HERE.parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-1000:]
