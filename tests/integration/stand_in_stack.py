"""`medqueue up` with stand-in programs, run as a script by the tests of the supervision.

Its arguments are a data folder, a port and words: `servers` for the embedded servers, `stubborn` for programs
that ignore their stop signal, `broken` for an API that ends at once, `unready` for one that listens and is never ready.
Each program notes in DATA/order when it stops.
"""

import socket
import sys
from pathlib import Path

from service.config import Settings
from service.embedded import Program, Stage, run_stack
from service.errors import ServiceError

STAND_IN = """
import signal, sys, time
name, order, stubborn = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
def stop(number, frame):
    if stubborn:
        return
    time.sleep(0.2)
    with open(order, "a") as file:
        file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open(order + "." + name, "w").close()
while True:
    time.sleep(60)
"""
# The API stand-in listens, and leaves a child that holds the same port when it is killed outright.
API_STAND_IN = """
import os, signal, socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if os.fork():
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
while True:
    time.sleep(60)
"""
WAITS_S = {Stage.POSTGRES: 3, Stage.REDIS: 1, Stage.APPLICATION: 6}  # as for the real ones


def stand_in(data: Path, name: str, stage: Stage, words: list[str]) -> Program:
    command = (sys.executable, "-c", STAND_IN, name, str(data / "order"), str("stubborn" in words))
    listens = data / f"order.{name}"
    return Program(name, command, stage, "TERM", WAITS_S[stage], is_ready=listens.exists)


def programs(data: Path, port: int, words: list[str]) -> list[Program]:
    script = "raise SystemExit(3)" if "broken" in words else API_STAND_IN
    api = (sys.executable, "-c", script, str(port), str(data))

    def is_ready() -> bool:
        with socket.socket() as client:
            return "unready" not in words and client.connect_ex(("127.0.0.1", port)) == 0

    servers = [("database", Stage.POSTGRES), ("broker", Stage.REDIS)] if "servers" not in words else []
    application = [(name, Stage.APPLICATION) for name in ("worker-1", "worker-2", "scheduler")]
    return [
        Program("api", api, is_ready=is_ready),
        *(stand_in(data, name, stage, words) for name, stage in [*servers, *application]),
    ]


def main(data: Path, port: int, words: list[str]) -> int:
    elsewhere = {"database_url": "postgresql://elsewhere", "redis_url": "redis://elsewhere"}
    try:
        return run_stack(
            Settings.model_validate({"data_dir": data} | ({} if "servers" in words else elsewhere)),
            port=port,
            workers=2,
            announce=lambda line: print(line, flush=True),
            prepared=lambda folder, settings: 0,
            programs=programs(data, port, words),
        )
    except ServiceError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: stand_in_stack.py DATA PORT [WORD...]")
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
