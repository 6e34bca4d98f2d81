"""Train a bundled model: `python -m models.training NAME --data DIR`, from the repository's root.

Runs `train(data)` of `models/zoo/NAME/train.py`, which writes everything of the bundle that comes from the data; with
`--measure` its `measure(data)`, where it has one, which measures the graph that is there again.
Afterwards `python -m models seal --golden models/zoo/NAME` fills in the expected results and the digests.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import torch

THREADS = 2  # whatever the machine has: sums of other parts round otherwise, and weights come out otherwise
ZOO = Path(__file__).resolve().parents[1] / "zoo"


def main() -> None:
    """Read the arguments and train."""
    names = sorted(script.parent.name for script in ZOO.glob("*/train.py"))
    parser = argparse.ArgumentParser(prog="python -m models.training", description="Train a bundled model.")
    parser.add_argument("name", choices=names)
    parser.add_argument("--data", type=Path, help="the folder of the data that the script names")
    parser.add_argument(
        "--measure", action="store_true", help="train nothing: measure the graph that is there"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    began = time.monotonic()
    script = script_of(arguments.name)
    if arguments.measure and not hasattr(script, "measure"):
        parser.error(f"{arguments.name} has no figures without training")
    (script.measure if arguments.measure else script.train)(arguments.data)
    print(f"done in {(time.monotonic() - began) / 60:.1f} minutes", file=sys.stderr)
    print(f"next: .venv/bin/python -m models seal --golden models/zoo/{arguments.name}", file=sys.stderr)


def script_of(name: str) -> ModuleType:
    """The training script of a bundled model, as a module."""
    sys.path.insert(0, str(ZOO / name))  # modules beside it
    spec = importlib.util.spec_from_file_location("train", ZOO / name / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
