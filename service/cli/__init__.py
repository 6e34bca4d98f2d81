"""The `medqueue` command: starts the stack, submits cases, shows jobs, and what an operator needs.

A command parses, makes one call and shows the answer. Callers' commands speak HTTP with a key; operators' commands
work on the database. Heavy modules are imported where a command needs them, so that `medqueue --help` stays quick.
"""

from service.cli.root import main

__all__ = ["main"]
