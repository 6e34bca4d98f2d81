"""Prepares the database of a stack: schema, tenant, admin key, bundled models.

In a process of its own, whose memory is free afterwards: migrations and models are hundreds of megabytes of code and data.
"""

import subprocess
import sys

from service.config import Settings
from service.embedded.folder import DataFolder
from service.embedded.processes import child_environment, ending_with_us


def prepare(folder: DataFolder, settings: Settings) -> int:
    """Run `medqueue db bootstrap` for the stack of `folder`; its exit code. What it does and what is wrong goes to stderr.

    `settings` are those that were given: it finds the servers of the folder by itself.
    """
    command = (
        sys.executable,
        "-m",
        "service.cli",
        "db",
        "bootstrap",
        "--admin-key",
        "--data-dir",
        str(folder.root),
    )
    process = subprocess.Popen(
        ending_with_us(command, "TERM"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env=child_environment(folder, settings.environment()), start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()
