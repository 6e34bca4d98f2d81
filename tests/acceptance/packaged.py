"""A stack in whose environment packages with pipelines are installed, and their bundles published."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.stack import Stack
from tests.forking.commands import MEDQUEUE, run


@dataclass
class PackagedModel:
    """The stack, the folder in which commands are run, and that of the installed packages."""

    stack: Stack
    folder: Path
    site: Path

    def medqueue(self, *words: str, at: bool = True, installed: bool = True) -> str:
        """What a command prints: `at` the stack, where the package is `installed` or not."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDQUEUE_")}
        environment["PYTHONPATH"] = str(self.site) if installed else ""
        command = [*MEDQUEUE, *words, *(("--data-dir", str(self.stack.data)) if at else ())]
        ended = run(command, env=environment, cwd=self.folder)
        assert ended.returncode == 0 or "check" in words, ended.stdout + ended.stderr
        return ended.stdout

    def faults(self, bundle: Path, *, installed: bool = True) -> dict[str, dict[str, str]]:
        """The faults that `medqueue models check` tells, by their code."""
        told = self.medqueue("models", "check", str(bundle), "--json", at=False, installed=installed)
        return {fault["code"]: fault for fault in json.loads(told)["faults"]}


@contextmanager
def served(folder: Path, site: Path, *bundles: Path) -> Iterator[PackagedModel]:
    """Start a stack in `folder` with the packages in `site`, and seal and publish the bundles."""
    made = PackagedModel(Stack(folder / ".medqueue", {"PYTHONPATH": str(site)}), folder, site)
    try:
        made.stack.start()
        for bundle in bundles:
            made.medqueue("models", "seal", "--golden", str(bundle), at=False)
            made.medqueue("models", "publish", str(bundle))
        yield made
    finally:
        made.stack.kill()
