"""The bundled models as they were when this release was tested: `zoo/digests.json`, written by `make models-page`.

The tests check every bundle of this file in full. So what has one of its digests, which cover every byte, needs no trial when
medqueue starts; a bundle with another digest was changed since.
"""

import json
from collections.abc import Mapping
from typing import Final, cast

from models.bundle import ZOO, Bundle, bundled, read_bundle, side_files
from models.checking import publishable
from models.pipelines import load_pipeline
from models.pipelines.contract import NeedsExtra
from models.pipelines.registry import NEEDING_EXTRAS

_DIGESTS: Final = ZOO / "digests.json"


def released() -> Mapping[str, str]:
    """The digests of the bundled models by name."""
    digests: dict[str, str] = json.loads(_DIGESTS.read_text(encoding="utf-8"))
    return digests


def write_digests() -> None:
    """Write down the digests that the bundled models have now."""
    digests = {folder.name: read_bundle(folder).digest for folder in bundled()}
    _DIGESTS.write_text(json.dumps(digests, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def checked(bundle: Bundle) -> Bundle:
    """A bundle that may be published. Raises BundleRefused with every fault found.

    One of the release is not tried again, nor its pipeline made: only the library that this may need is looked for.
    """
    if bundle.digest not in released().values():
        return publishable(bundle.folder)
    if bundle.manifest.pipeline in NEEDING_EXTRAS:
        pipeline = load_pipeline(bundle.manifest, side_files(bundle.folder))
        cast(NeedsExtra, pipeline).require_extra()
    return bundle
