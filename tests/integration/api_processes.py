"""The API as it is started, in processes of its own over servers of its own."""

import base64
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.bootstrap import ADMIN_KEY_FILE, bootstrap
from service.config import Settings
from service.embedded import api_command, embedded_servers


@dataclass(frozen=True)
class Api:
    """A running API."""

    process: psutil.Process
    settings: Settings
    key: str
    log: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.settings.api_port

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """An answer, over a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, headers={"Authorization": f"Bearer {self.key}", **headers})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def counted(self, name: str) -> float:
        """The sum of a metric's series."""
        text = self.get("/metrics")[2].decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    def families(self) -> list[Metric]:
        """The metrics as a scraper reads them."""
        return list(text_string_to_metric_families(self.get("/metrics")[2].decode()))

    def series(self) -> int:
        """How many series there are."""
        return sum(not line.startswith(b"#") for line in self.get("/metrics")[2].splitlines())


@contextmanager
def running_api(folder: Path, **chosen: int) -> Iterator[Api]:
    """An API with these settings, bootstrapped, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with embedded_servers(folder / "servers", fsync=False) as urls:
        settings = Settings(
            database_url=urls.database_url,
            redis_url=urls.redis_url,
            data_dir=folder,
            master_key=base64.b64encode(bytes(range(32))).decode(),
            api_port=port,
            cache_s=0,  # metrics are read as they are
        ).model_copy(update=chosen)
        bootstrap(settings)
        log = folder / "api.log"
        environment = {"PATH": os.environ["PATH"], **settings.environment()}
        with (
            log.open("wb") as written,
            subprocess.Popen(
                api_command(), env=environment, stdout=written, stderr=subprocess.STDOUT, cwd=folder
            ) as process,
        ):
            key = (folder / ADMIN_KEY_FILE).read_text().strip()
            running = Api(psutil.Process(process.pid), settings, key, log)
            try:
                eventually_ready(running)
                yield running
            finally:
                process.terminate()
                process.wait(20)


def eventually_ready(api: Api) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if api.get("/readyz")[0] == 200 and len(api.process.children()) == api.settings.api_workers:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(api.log.read_text())
