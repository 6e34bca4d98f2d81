"""`python -m models`: seal a bundle after a change, check it as publishing would, or write the page of the bundled ones."""

import argparse
import sys
from pathlib import Path

from models.bundled_page import write_page
from models.checking import publishable, sealed
from models.manifest import BundleRefused
from models.release import write_digests


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 if the bundle is good, 1 if it is refused."""
    options = _parser().parse_args(arguments)
    if options.command == "page":
        write_digests()
        write_page(options.docs)
        return 0
    refused = False
    for folder in options.folders:
        try:
            bundle = (
                sealed(folder, golden=options.golden) if options.command == "seal" else publishable(folder)
            )
            sys.stdout.write(f"{bundle.manifest.name} {bundle.manifest.version} {bundle.digest}\n")
        except BundleRefused as error:
            sys.stderr.write(f"{folder}:\n{error}\n")
            refused = True
    return int(refused)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="list every reason why the bundle would be refused")
    seal = commands.add_parser("seal", help="write the digests of the files into manifest.toml, then check")
    seal.add_argument(
        "--golden", action="store_true", help="first renew golden.json with the model's answers"
    )
    page = commands.add_parser(
        "page", help="write the page of the bundled models, its pictures, and the digests of these models"
    )
    page.add_argument("docs", type=Path, metavar="FOLDER")
    check.set_defaults(golden=False)
    for command in (check, seal):
        command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
