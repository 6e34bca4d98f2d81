"""Whether files can be made in the data folder. Standard library only: the API asks before it loads anything."""

import errno
from pathlib import Path
from uuid import uuid4

from service.faults import Fault, Requirement

# Faults that do not pass by waiting: there is no such folder, or this account may not write in it.
NO_FOLDER = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}


def data_dir(folder: Path) -> Fault | None:
    """Whether files can be made in the data folder. It is not made where it is missing: its volume may not be mounted."""
    try:
        trial = folder / f".{uuid4().hex}.trial"
        try:
            trial.write_bytes(b"medqueue")
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        return Fault(
            Requirement.DATA_DIR,
            "MEDQUEUE_DATA_DIR",
            f"nothing can be written in {folder}: {error.strerror}",
            "Make the folder or mount its volume; name one that this account may write in, or make room.",
            wrong_setting=error.errno in {*NO_FOLDER, errno.ENOENT},
        )
    return None
