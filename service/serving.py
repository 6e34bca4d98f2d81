"""The API as a process: `python -m service.serving` reads the settings, listens and keeps the server's processes running.

Owns the server's options. The application is made in each server process, by service.wsgi.
"""

import os
import tempfile

from service import logs
from service.config import PROBE_THREADS, Settings
from service.entry import settings_of_process

CONNECTIONS = 2048  # of one server process, open at the same time; idle ones count
RESPAWN_S = 0.5
STOP_S = 3


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with 1 when a setting is wrong, which is logged by its name."""
    settings = settings_of_process("api")
    with tempfile.TemporaryDirectory(prefix="medqueue-api-metrics-") as folder:
        # Read by prometheus_client as it is imported, in the server processes.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        serve(settings)


def serve(settings: Settings) -> None:
    """Run granian: it takes the connections, a bounded number of threads runs the requests."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.log import LogLevels

    Granian(
        "service.wsgi:app",
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.api_workers,
        blocking_threads=settings.api_threads + PROBE_THREADS,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        respawn_failed_workers=True,
        respawn_interval=RESPAWN_S,
        workers_kill_timeout=STOP_S,
        log_level=LogLevels.warning,
        log_dictconfig=logs.PROPAGATED,
    ).serve()


if __name__ == "__main__":
    main()
