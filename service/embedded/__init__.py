"""Postgres and Redis from wheels, and with them API, workers and scheduler as one supervised stack.

Owns the processes of one machine and the data folder they share. Does not depend on jobs: it runs a list of programs.
Works as root and as a plain user.
"""

from service.embedded.commands import api_command, scheduler_command, worker_command
from service.embedded.errors import ExtraMissing, FolderUnusable, PortTaken, StackFailed, StackRunning
from service.embedded.programs import Program, Stage
from service.embedded.servers import ServerUrls, embedded_servers, server_urls
from service.embedded.stack import api_url, is_starting, run_stack

__all__ = [
    "ExtraMissing",
    "FolderUnusable",
    "PortTaken",
    "Program",
    "ServerUrls",
    "StackFailed",
    "StackRunning",
    "Stage",
    "api_command",
    "api_url",
    "embedded_servers",
    "is_starting",
    "run_stack",
    "scheduler_command",
    "server_urls",
    "worker_command",
]
