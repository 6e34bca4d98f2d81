"""Packages that add pipelines, written into a folder as installing them would: their modules and their metadata."""

from collections.abc import Mapping
from pathlib import Path

# A pipeline that answers the words of its side file: as little as a pipeline can be.
WORDS = """
import json

from models.manifest import ManifestTable, parse_parameters
from models.pipelines import Answer, Case, GraphSpec, TensorSpec, no_options_schema, refuse_options
from models.pipelines.side_files import READ, SideFile


class Parameters(ManifestTable):
    words: SideFile = "words.txt"


class Words:
    binary, parts = False, {}
    graphs = {"model": GraphSpec((TensorSpec("features", "float32", (2,)),), (TensorSpec("probability", "float32", (1,)),))}

    def __init__(self, words):
        self.words = words.decode().split()

    def input_schema(self, most_bytes=None):
        return {"type": "object"}

    def result_schema(self):
        return {"type": "object"}

    def options_schema(self):
        return no_options_schema()

    def labels(self):
        return []

    def encode(self, value):
        return json.dumps(value).encode()

    def decode(self, payload):
        return json.loads(payload)

    def check_options(self, value):
        return refuse_options(value)

    def open(self, folder):
        self.opened = (folder / "words.txt").read_text()
        return self

    def score(self, run, cases):
        return [Answer({"words": self.words}) for _ in cases]


def load(manifest, read):
    parameters = parse_parameters(Parameters, manifest, {READ: read})
    return Words(read(parameters.words))
"""


def install(site: Path, package: str, pipelines: Mapping[str, str], source: str | None = WORDS) -> None:
    """Put a package of one module into `site`, a folder of sys.path; without a source it lacks the module."""
    module = package.replace("-", "_")
    if source is not None:
        (site / f"{module}.py").write_text(source)
    metadata = site / f"{module}-1.2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.0\n")
    lines = [f"{name} = {value.format(module=module)}" for name, value in pipelines.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[medqueue.pipelines]", *lines, ""]))
