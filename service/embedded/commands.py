"""The command line of each process of ours. The embedded stack and compose.yaml both use exactly these.

No setting is passed here: a process reads them from its environment.
"""

import sys


def api_command(python: str = sys.executable) -> tuple[str, ...]:
    """Serve HTTP. Address, processes and threads are settings."""
    return (python, "-m", "service.serving")


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
