"""How a process of ours begins: its log first, then its settings. A wrong setting ends it, by the setting's name."""

import os

from service import logs
from service.config import Settings
from service.errors import SettingInvalid


def settings_of_process(name: str) -> Settings:
    """Take the log over and read the settings. Every line names the process, by its configured name or `name`.

    Exits with 1 when a setting is wrong.
    """
    logs.take_over("INFO", process=name, pid=os.getpid())
    try:
        settings = Settings.from_environment()
    except SettingInvalid as error:
        logs.stopped(error)
        raise SystemExit(1) from None
    logs.take_over(settings.log_level, process=settings.worker_name or name, pid=os.getpid())
    return settings
