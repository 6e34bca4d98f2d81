"""The life of the stack's processes: start, restart, stop, and what a crash leaves. Programs are stand-ins."""

import base64
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from service.embedded import api_url, server_urls

DRIVER = Path(__file__).with_name("stand_in_stack.py")
APPLICATION = ("api", "worker-1", "worker-2", "scheduler")
STAND_INS = ("database", "broker", *APPLICATION)
STOPS_WITHIN_S = 15.0


@dataclass
class Up:
    """One `medqueue up` of stand-ins, as a process of its own."""

    data: Path
    port: int
    process: subprocess.Popen[str]

    def ready_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def pid(self, name: str) -> int:
        return int((self.data / "run" / f"{name}.pid").read_text())

    def running(self) -> list[psutil.Process]:
        """The stack's processes without `up` itself, known by the data folder on their command line."""
        found = psutil.process_iter(["cmdline"])
        ours = [each for each in found if str(self.data) in " ".join(each.info["cmdline"] or [])]
        return [each for each in ours if each.pid != self.process.pid]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def crash(self) -> None:
        """Kill `up` and its supervisor outright; the programs live on."""
        supervisor = psutil.Process(self.pid("supervisord"))
        self.process.send_signal(signal.SIGSTOP)
        supervisor.kill()
        self.process.kill()
        self.process.wait()

    def messages(self) -> str:
        return self.data.with_name(f"{self.port}.stderr").read_text()


StartUp = Callable[..., Up]


@pytest.fixture
def start_up() -> Iterator[StartUp]:
    """Starts stacks and, after the test, ends them and all they left."""
    started: list[Up] = []

    def start(data: Path, *words: str, port: int = 0, prefix: tuple[str, ...] = ()) -> Up:
        port = port or free_port()
        with data.with_name(f"{port}.stderr").open("a") as errors:
            command = [*prefix, sys.executable, str(DRIVER), str(data), str(port), *words]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        started.append(Up(data, port, process))
        return started[-1]

    yield start
    for up in started:
        with up.process:
            up.process.kill()
        for process in up.running():
            process.kill()
        if (sockets := up.data / "run/sockets").is_symlink():
            shutil.rmtree(sockets.readlink(), ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that a plain user can be given, which pytest's own, being closed, is not."""
    path = Path(tempfile.mkdtemp(prefix="medqueue test "))
    yield path
    shutil.rmtree(path)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_ready_is_the_only_line_and_every_pid_file_names_its_program(
    start_up: StartUp, tmp_path: Path
) -> None:
    up = start_up(tmp_path / "data")
    assert up.ready_line() == f"ready http://127.0.0.1:{up.port}\n"
    for name in STAND_INS:
        command = psutil.Process(up.pid(name)).cmdline()
        assert str(up.port) in command if name == "api" else name in command
    assert "supervisor.supervisord" in psutil.Process(up.pid("supervisord")).cmdline()
    assert api_url(up.data) == f"http://127.0.0.1:{up.port}"
    assert up.stop() == 0
    assert up.ready_line() == ""


def test_the_api_is_found_by_its_folder_from_its_first_answer_on(start_up: StartUp, tmp_path: Path) -> None:
    """Its /readyz may answer before `up` sees that it does."""
    up = start_up(tmp_path / "data", "unready")

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", up.port)) == 0

    assert eventually(answers)
    assert api_url(up.data) == f"http://127.0.0.1:{up.port}"
    assert up.stop() == 0


def test_killed_programs_are_started_again(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data")
    up.ready_line()
    killed = {name: up.pid(name) for name in ("worker-1", "scheduler", "database")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: all(up.pid(name) != before for name, before in killed.items()))
    assert eventually(lambda: all(name in psutil.Process(up.pid(name)).cmdline() for name in killed))


def test_children_of_a_killed_program_do_not_live_on(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data")
    up.ready_line()
    before = up.pid("api")
    children = psutil.Process(before).children()
    assert len(children) == 1
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: up.pid("api") != before)
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_application_stops_first_and_the_database_last(
    start_up: StartUp, tmp_path: Path, number: signal.Signals
) -> None:
    up = start_up(tmp_path / "data")
    up.ready_line()
    assert up.stop(number) == 0
    *application, broker, database = (up.data / "order").read_text().split()
    assert sorted(application) == ["scheduler", "worker-1", "worker-2"]
    assert (broker, database) == ("broker", "database")
    assert up.running() == []
    assert not list((up.data / "run").glob("*.pid"))


def test_neither_stubborn_programs_nor_a_hanging_supervisor_delay_the_stop(
    start_up: StartUp, tmp_path: Path
) -> None:
    stubborn, hanging = start_up(tmp_path / "one", "stubborn"), start_up(tmp_path / "two")
    stacks = (stubborn, hanging)
    assert all(up.ready_line().startswith("ready") for up in stacks)
    os.kill(hanging.pid("supervisord"), signal.SIGSTOP)
    begin = time.monotonic()
    hanging.process.send_signal(signal.SIGINT)
    assert [stubborn.stop(signal.SIGINT), hanging.process.wait(30)] == [0, 0]
    assert time.monotonic() - begin < STOPS_WITHIN_S
    assert [up.running() for up in stacks] == [[], []]


def test_a_signal_during_the_start_stops_what_runs(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data")
    assert eventually((tmp_path / "data/run/database.pid").exists)
    assert up.stop() == 0
    assert up.ready_line() == ""
    assert up.running() == []


def test_nothing_outlives_a_killed_up_for_long(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data")
    up.ready_line()
    up.process.kill()
    assert eventually(lambda: not up.running(), STOPS_WITHIN_S)


def test_a_start_after_a_crash_stops_what_was_left(start_up: StartUp, tmp_path: Path) -> None:
    crashed = start_up(tmp_path / "data")
    crashed.ready_line()
    crashed.crash()
    left = crashed.running()
    assert len(left) >= len(STAND_INS)
    again = start_up(tmp_path / "data", port=crashed.port)
    assert again.ready_line().startswith("ready")
    assert psutil.wait_procs(left, timeout=0)[1] == []
    assert again.stop() == 0


def test_a_stranger_with_a_pid_of_ours_is_left_alone(start_up: StartUp, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    # The stranger even has the folder on its command line and in its environment, as an editor may.
    command = [sys.executable, "-c", "import time; time.sleep(60)", str(data / "run/supervisord.conf")]
    environment = os.environ | {"MEDQUEUE_DATA_DIR": str(data)}
    with subprocess.Popen(command, env=environment, start_new_session=True) as stranger:
        for name in ("supervisord", *STAND_INS):
            (data / f"run/{name}.pid").write_text(f"{stranger.pid}\n")
        (data / "run/lock").write_text(f"{stranger.pid}\n")
        up = start_up(data)
        assert up.ready_line().startswith("ready")
        assert up.stop() == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_second_up_on_a_live_folder_is_refused(start_up: StartUp, tmp_path: Path) -> None:
    first = start_up(tmp_path / "data")
    first.ready_line()
    second = start_up(tmp_path / "data")
    assert second.process.wait(10) == 1
    assert f"Already running on {tmp_path / 'data'} with pid {first.process.pid}" in second.messages()
    assert {psutil.Process(first.pid(name)).status() for name in STAND_INS} <= {"running", "sleeping"}
    assert first.stop() == 0


def test_a_taken_port_is_named_before_anything_starts(start_up: StartUp, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = start_up(tmp_path / "data", "servers", port=taken.getsockname()[1])
        assert up.process.wait(10) == 1
    assert f"Port {up.port} on 127.0.0.1 is taken" in up.messages()
    assert not (up.data / "postgres").exists()
    assert not list((up.data / "log").iterdir())


def test_a_program_that_always_ends_fails_the_start_and_stops_the_rest(
    start_up: StartUp, tmp_path: Path
) -> None:
    up = start_up(tmp_path / "data", "broken")
    assert up.process.wait(30) == 1
    assert f"api exits whenever it is started. Its log says why: {up.data}/log/api.log" in up.messages()
    assert up.running() == []


def test_up_ends_and_stops_all_when_its_supervisor_is_killed(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data")
    up.ready_line()
    os.kill(up.pid("supervisord"), signal.SIGKILL)
    assert up.process.wait(20) == 1
    assert "supervisord ended unexpectedly" in up.messages()
    assert up.running() == []


def test_two_stacks_run_side_by_side(start_up: StartUp, tmp_path: Path) -> None:
    one, two = start_up(tmp_path / "one"), start_up(tmp_path / "two")
    assert one.ready_line() == f"ready http://127.0.0.1:{one.port}\n"
    assert two.ready_line() == f"ready http://127.0.0.1:{two.port}\n"
    assert one.stop() == 0
    assert psutil.pid_exists(two.pid("worker-1"))
    assert two.stop() == 0


def test_the_real_servers_survive_a_crash_and_a_stale_pid(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data", "servers")
    assert up.ready_line().startswith("ready")
    with psycopg.connect(server_urls(up.data).owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    up.crash()
    for process in up.running():
        process.kill()
    server_user = (up.data / "postgres").stat().st_uid  # Postgres takes no notice of other users' processes
    with subprocess.Popen(["sleep", "60"], user=server_user) as stranger:
        replace_first_line(up.data / "postgres/postmaster.pid", str(stranger.pid))
        again = start_up(up.data, "servers")
        assert again.ready_line().startswith("ready")
        assert stranger.poll() is None
        stranger.kill()
    with psycopg.connect(server_urls(up.data).database_url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert again.stop() == 0
    assert "database system is shut down" in (up.data / "log/postgres.log").read_text().splitlines()[-1]


def test_a_killed_postgres_answers_again(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data", "servers")
    up.ready_line()
    before = up.pid("postgres")
    assert Path(psutil.Process(before).cmdline()[0]).name == "postgres"
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: answers(server_urls(up.data).database_url))
    assert up.pid("postgres") != before


def test_secrets_are_made_once_and_closed_to_others(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up(tmp_path / "data", "servers")
    up.ready_line()
    key = (up.data / "master.key").read_text()
    assert len(base64.b64decode(key)) == 32
    assert up.stop() == 0
    files = [path for path in up.data.rglob("*") if not path.is_symlink()]
    assert not [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    again = start_up(up.data, "servers")
    again.ready_line()
    assert (up.data / "master.key").read_text() == key


def test_a_lost_master_key_is_not_made_anew(start_up: StartUp, tmp_path: Path) -> None:
    (tmp_path / "data/postgres").mkdir(parents=True)
    up = start_up(tmp_path / "data", "servers")
    assert up.process.wait(10) == 1
    assert "master.key is missing" in up.messages()
    assert not (up.data / "master.key").exists()


def test_a_plain_user_runs_the_stack(start_up: StartUp, folder: Path) -> None:
    prefix = plain_user(folder)
    up = start_up(folder / "its data", "servers", prefix=prefix)
    assert up.ready_line().startswith("ready"), up.messages()
    assert {process.uids().effective for process in up.running()} == {folder.stat().st_uid} != {0}
    assert up.stop() == 0
    ports = json.loads((up.data / "run/ports.json").read_text())
    assert set(ports) == {"postgres", "redis", "api"}


def plain_user(folder: Path) -> tuple[str, ...]:
    """What to put before a command so that the folder's owner, not root, runs it."""
    if os.geteuid() != 0:
        return ()
    os.chown(folder, 65534, 65534)
    drop = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    reach = (*drop, "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    probe = ("sh", "-c", '"$0" "$1"', sys.executable, str(DRIVER))
    # An interpreter or a checkout below /root is out of a plain user's reach; then it may read, and no more.
    reachable = b"usage" in subprocess.run((*drop, *probe), capture_output=True, check=False).stderr
    return drop if reachable else reach


def replace_first_line(path: Path, line: str) -> None:
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:], ""]))


def answers(database_url: str) -> bool:
    try:
        psycopg.connect(database_url).close()
    except psycopg.OperationalError:
        return False
    return True
