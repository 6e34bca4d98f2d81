"""Where the twin's servers are, and every setting of it that bears on speed."""

import os
from dataclasses import dataclass
from typing import Any

import psutil

DATABASE = "PLAIN_DATABASE_URL"
REDIS = "PLAIN_REDIS_URL"

API_WORKERS = 2
API_THREADS = 8
KEEP_ALIVE_S = 75
POOL_SIZE = API_THREADS
CONCURRENCY = psutil.cpu_count() or 1

# Acknowledged when done and given back when a worker dies, as whoever may not lose a job sets it. No result
# backend: the row holds the result, and a second copy in Redis would only cost.
CELERY: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_prefetch_multiplier": 4,
    "worker_send_task_events": False,
    "broker_connection_retry_on_startup": True,
    "broker_transport_options": {"visibility_timeout": 3600, "socket_keepalive": True},
    "enable_utc": True,
}


@dataclass(frozen=True)
class Addresses:
    """The twin's own database and its own Redis."""

    database_url: str
    redis_url: str

    @classmethod
    def from_environment(cls) -> "Addresses":
        """Read what `environment` wrote."""
        return cls(os.environ[DATABASE], os.environ[REDIS])

    def environment(self) -> dict[str, str]:
        """The variables that hand the addresses to a child process."""
        return {DATABASE: self.database_url, REDIS: self.redis_url}
