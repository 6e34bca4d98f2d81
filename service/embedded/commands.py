"""The command line of each process of ours. The embedded stack and compose.yaml both use exactly these.

No setting but addresses and sizes stands here: secrets reach a process through its environment only.
"""

import sys

from service.config import Settings

CONNECTIONS = 2048  # of one API process, open at the same time; idle ones count


def api_command(settings: Settings, python: str = sys.executable) -> tuple[str, ...]:
    """Serve HTTP. Granian takes the connections, a bounded number of threads runs the requests."""
    return (
        python, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws",
        "--host", settings.api_host, "--port", str(settings.api_port),
        "--workers", str(settings.api_workers), "--blocking-threads", str(settings.api_threads),
        "--backlog", str(CONNECTIONS), "--backpressure", str(CONNECTIONS),
        "--respawn-failed-workers", "--respawn-interval", "0.5", "--workers-kill-timeout", "3",
        "--log-level", "warning",
        "service.wsgi:app",
    )  # fmt: skip


def worker_command(name: str = "worker", python: str = sys.executable) -> tuple[str, ...]:
    """Score jobs. One task at a time in the main process: forked children and CUDA do not mix."""
    return _celery(python, name, "--pool", "solo", "--queues", "score")


def scheduler_command(name: str = "scheduler", python: str = sys.executable) -> tuple[str, ...]:
    """Run the periodic tasks. The worker of this queue also sends them, from a thread of its own."""
    return _celery(python, name, "--pool", "threads", "--concurrency", "2", "--queues", "maintenance")


def _celery(python: str, name: str, *options: str) -> tuple[str, ...]:
    return (
        python, "-m", "celery", "-A", "workers.app", "worker", *options,
        "--without-gossip", "--without-mingle", "--without-heartbeat",
        "--hostname", f"{name}@%h", "--loglevel", "WARNING",
    )  # fmt: skip
