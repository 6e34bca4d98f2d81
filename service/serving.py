"""The API as a process: `python -m service.serving` reads the settings, listens and keeps the server's processes running.

Owns the server's options. The application is made in each server process, by service.wsgi.
"""

import os
import resource
import tempfile

from service import logs
from service.config import LINE_THREADS, SPARE_THREADS, Settings
from service.entry import check_address, settings_of_process, wrong_settings_end_the_process
from service.errors import SettingInvalid
from service.process import return_large_memory, settle
from service.storage import FsspecBlobStore
from service.writable import data_dir

# Of one server process, open at the same time; idle ones count. More than one address can open to a port (28,232 by Linux'
# ip_local_port_range), so that none keeps the others out.
CONNECTIONS = 32_768
SPARE_FILES = 1024  # that a process opens beside connections
HEADERS_WITHIN_MS = 10_000
RESPAWN_S = 0.5
STOP_S = 3


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with WRONG_SETTING_STATUS when a setting is wrong, which is logged by its name."""
    settings = settings_of_process("api")
    with wrong_settings_end_the_process():
        settings.master_key_bytes()
        check_address(settings.api_host, settings.api_port)
        check_blob_store(settings)
    with tempfile.TemporaryDirectory(prefix="medqueue-api-metrics-") as folder:
        # Read by prometheus_client as it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        serve(settings)


def check_blob_store(settings: Settings) -> None:
    """Raises SettingInvalid when there can be no blob store where the settings say."""
    fault = None if settings.blob_url else data_dir(settings.data_dir)
    if fault is not None and fault.wrong_setting:
        raise SettingInvalid(fault.setting, fault.cause)
    FsspecBlobStore(settings.blob_location)


def serve(settings: Settings) -> None:
    """Run granian: it takes the connections, a bounded number of threads runs the requests.

    The application is imported here, for all server processes that granian forks: each starts ten times as quickly.
    """
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    import service.app  # noqa: F401
    from service.metrics import leave_to_server_processes

    leave_to_server_processes()
    return_large_memory()
    settle()
    connections = allow_connections()
    Granian(
        "service.wsgi:app",
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.api_workers,
        blocking_threads=settings.api_threads + LINE_THREADS + SPARE_THREADS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MS),
        backlog=connections,
        backpressure=connections,
        respawn_failed_workers=True,
        respawn_interval=RESPAWN_S,
        workers_kill_timeout=STOP_S,
        log_level=LogLevels.warning,
        log_dictconfig=logs.PROPAGATED,
    ).serve()


def allow_connections() -> int:
    """Let this process and its children open as many files as the system allows; how many of them may be connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return CONNECTIONS if most == resource.RLIM_INFINITY else min(CONNECTIONS, max(1, most - SPARE_FILES))


if __name__ == "__main__":
    main()
