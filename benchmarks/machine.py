"""What a figure depends on beside the code: the machine and the versions."""

import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = (
    "celery", "kombu", "flask", "granian", "gunicorn", "sqlalchemy", "psycopg", "pydantic", "redis", "onnxruntime", "numpy",
)  # fmt: skip


def describe() -> dict[str, str]:
    """The machine, in words."""
    return {
        "processor": f"{_processor()}, {psutil.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "file system": _file_system(),
    }


def versions() -> dict[str, str]:
    """Python and the packages that bear on speed."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system() -> str:
    """The kind of file system below the data folders: on tmpfs, waiting for the disk would cost nothing."""
    folder = Path(tempfile.gettempdir()).resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next(mounts[parent] for parent in (folder, *folder.parents) if parent in mounts)
