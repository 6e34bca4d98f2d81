"""The start of every medqueue process: its log first, then its settings. A wrong setting ends it, by the setting's name."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from service import logs
from service.config import Settings
from service.errors import SettingInvalid
from service.process import WRONG_SETTING_STATUS


def settings_of_process(name: str) -> Settings:
    """Set up the log and read the settings. Every line names the process, by its configured name or `name`.

    Exits with WRONG_SETTING_STATUS when a setting is wrong or a server's address is missing.
    """
    logs.take_over("INFO", process=name, pid=os.getpid())
    with wrong_settings_end_the_process():
        settings = Settings.from_environment().with_servers()
    logs.take_over(settings.log_level, process=settings.worker_name or name, pid=os.getpid())
    return settings


@contextmanager
def wrong_settings_end_the_process() -> Iterator[None]:
    """Log the setting that the block found to be wrong, and exit with WRONG_SETTING_STATUS."""
    try:
        yield
    except SettingInvalid as error:
        logs.stopped(error)
        raise SystemExit(WRONG_SETTING_STATUS) from None


def check_address(host: str, port: int) -> None:
    """Raises SettingInvalid when nobody can listen on the API's address."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
    except OSError as error:
        taken = error.errno in {errno.EADDRINUSE, errno.EACCES}
        variable = "MEDQUEUE_API_PORT" if taken else "MEDQUEUE_API_HOST"
        raise SettingInvalid(variable, f"cannot listen on {host}:{port}: {error.strerror}") from None
