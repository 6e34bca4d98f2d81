"""The demo's own stack: in a temporary folder, on a free port, with no setting of the caller but the GPU's."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.cli.demo.errors import DemoFailed
from service.cli.target import Target, find_target
from service.config import PREFIX
from service.embedded.processes import ending_with_us

KEPT = frozenset(
    PREFIX + name for name in ("PROVIDER", "ALLOW_CPU", "MODEL_MEMORY_MB", "THREADS_PER_MODEL", "LOG_LEVEL")
)
# The demo's receiver listens on this machine, without TLS: neither is allowed otherwise.
RECEIVER_HERE = {
    PREFIX + "WEBHOOK_ALLOW_HTTP": "1",
    PREFIX + "WEBHOOK_TENANT_NETWORKS": "* = 127.0.0.0/8",
    PREFIX + "WEBHOOK_ALLOWED_PORTS": "*",
}
STOP_S = 30.0
LOG_LINES = 20


@contextmanager
def temporary_stack(note: Callable[[str], None]) -> Iterator[Target]:
    """Run a stack while the block lasts; its API. Afterwards nothing is left of it.

    Raises DemoFailed when it does not come up or does not stop cleanly. When anything fails, its folder with
    the logs is kept, and `note` says where.
    """
    folder = Path(tempfile.mkdtemp(prefix="medqueue-demo-"))
    try:
        with _running(folder / "data", folder / "up.log"):
            yield find_target(folder / "data", None, None)
    except Exception:
        note(f"The logs of the demo's stack are kept in {folder}.")
        raise
    except BaseException:  # interrupted
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


@contextmanager
def _running(data_dir: Path, log: Path) -> Iterator[None]:
    """Run `medqueue up` while the block lasts."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            ending_with_us(_command(data_dir), "TERM"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=errors, env=environment(os.environ), start_new_session=True,
        )  # fmt: skip
    try:
        _wait_ready(process, log)
        yield
    finally:
        _stop(process)
    if process.returncode != 0:
        raise DemoFailed(f"The stack did not stop cleanly.\n{_end_of(log)}")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings that could point the demo at other servers or data."""
    kept = {name: value for name, value in environ.items() if not name.startswith(PREFIX) or name in KEPT}
    return kept | RECEIVER_HERE


def _command(data_dir: Path) -> tuple[str, ...]:
    port = str(_free_port())
    return (sys.executable, "-m", "service.cli", "up", "--port", port, "--data-dir", str(data_dir))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.stdout is not None
    if not process.stdout.readline().startswith(b"ready "):
        raise DemoFailed(f"The stack did not start.\n{_end_of(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the stack; a Ctrl-C meanwhile changes nothing, or processes would outlive their folder."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    process.stdout.close()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
