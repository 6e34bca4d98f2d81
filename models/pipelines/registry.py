"""The available pipelines: those that come with medqueue, and those of installed packages.

A package adds a pipeline by an entry point in the group `medqueue.pipelines`. Its name is the `pipeline` of a manifest, and its
object is a function `load(manifest, read) -> Pipeline`. The code of such a package runs in the API and in workers, like
medqueue's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

from models.manifest import MANIFEST_NAME, BundleRefused, Fault, ManifestInvalid, ModelManifest
from models.pipelines.contract import Pipeline, ReadFile
from models.pipelines.side_files import ReadOnce, no_files

GROUP: Final = "medqueue.pipelines"
PLACE: Final = f"{MANIFEST_NAME}: pipeline"
Load = Callable[[ModelManifest, ReadFile], Pipeline]

# Name -> module with `load(manifest, read) -> Pipeline`. Imported when first asked for, so that a deployment without
# images never loads Pillow.
_BUILT_IN: Final = {
    "advice": "models.pipelines.advice",
    "beat-classification": "models.pipelines.beat_classification",
    "image-classification": "models.pipelines.image_classification",
    "image-generation": "models.pipelines.image_generation",
    "image-segmentation": "models.pipelines.image_segmentation",
    "molecule-property": "models.pipelines.molecule_property",
    "object-detection": "models.pipelines.object_detection",
    "recommendation": "models.pipelines.recommendation",
    "semantic-search": "models.pipelines.semantic_search",
    "sequence-classification": "models.pipelines.sequence_classification",
    "tabular-classification": "models.pipelines.tabular_classification",
    "tabular-regression": "models.pipelines.tabular_regression",
    "tensor": "models.pipelines.tensor",
    "text-classification": "models.pipelines.text_classification",
    "text-generation": "models.pipelines.text_generation",
    "text-pair-classification": "models.pipelines.text_pair_classification",
    "text-embedding": "models.pipelines.text_embedding",
    "timeseries-classification": "models.pipelines.timeseries_classification",
    "token-classification": "models.pipelines.token_classification",
    "treatment-plan": "models.pipelines.treatment_plan",
}
NEEDING_EXTRAS: Final = frozenset({"molecule-property"})  # those of the built-in ones that are NeedsExtra
_IMPORTED: Final[dict[str, str]] = {}  # package -> the version whose code this process runs


def registered_pipelines() -> list[str]:
    """The names a manifest may give for `pipeline`, sorted."""
    return sorted({*_BUILT_IN, *entry_points(group=GROUP).names})


def load_pipeline(manifest: ModelManifest, read: ReadFile = no_files) -> Pipeline:
    """The manifest's pipeline with the manifest's parameters; `read` gives it the side files that those name.

    Raises ManifestInvalid, and what `read` raises.
    """
    reading = ReadOnce(read)
    if module_name := _BUILT_IN.get(manifest.pipeline):
        module: Any = importlib.import_module(module_name)
        return cast(Pipeline, module.load(manifest, reading))
    return _loaded(_plug_in(manifest.pipeline), manifest, reading)


def name_faults(name: str) -> list[Fault]:
    """Faults of packages that provide a pipeline of a name that is built in: the built-in one is used all the same."""
    return [
        Fault(
            PLACE,
            "pipeline_name_taken",
            f"{_package(found)} provides a pipeline {name!r}, which is built into medqueue: uninstall that package, or rename "
            "its entry point",
        )
        for found in entry_points(group=GROUP, name=name)
        if name in _BUILT_IN
    ]


def _plug_in(name: str) -> EntryPoint:
    """The entry point of an installed package that provides this pipeline. Raises ManifestInvalid."""
    found = tuple(dict.fromkeys(entry_points(group=GROUP, name=name)))
    if not found:
        known = ", ".join(registered_pipelines())
        advice = f"name a registered pipeline ({known}), or install the package that provides {name!r}"
        raise ManifestInvalid(Fault(PLACE, "unknown_pipeline", advice))
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package, found)))
        raise ManifestInvalid(
            Fault(PLACE, "pipeline_name_taken", f"{packages} both provide {name!r}: uninstall one of them")
        )
    return found[0]


def _loaded(plug_in: EntryPoint, manifest: ModelManifest, reading: ReadOnce) -> Pipeline:
    """The package's pipeline for a manifest. Anything that its code raises becomes a fault. Raises ManifestInvalid."""
    try:
        load: Load = plug_in.load()
        if plug_in.dist is not None:
            _IMPORTED.setdefault(plug_in.dist.name, plug_in.dist.version)
        pipeline = load(manifest, reading)
        if isinstance(pipeline, Pipeline):
            return pipeline
        lacking = f"{plug_in.value} gave {type(pipeline).__name__}, which is no pipeline"
    except BundleRefused:
        if (outdated := _outdated(plug_in)) is not None:
            raise outdated from None
        raise
    except (Exception, SystemExit) as error:
        if error is reading.fault:
            raise
        raise (_outdated(plug_in) or _failed(plug_in, reading, f"{type(error).__name__}: {error}")) from error
    raise _outdated(plug_in) or _unavailable(plug_in, lacking)


def _failed(plug_in: EntryPoint, reading: ReadOnce, reason: str) -> ManifestInvalid:
    """The fault of a package whose code raised: of the side files, if it had read some."""
    if not reading.paths:
        return _unavailable(plug_in, reason)
    place = reading.paths[0] if len(reading.paths) == 1 else f"{MANIFEST_NAME}: parameters"
    text = (
        f"{_package(plug_in)} cannot use {', '.join(map(repr, reading.paths))} of the bundle ({reason}): correct the file and "
        "seal the bundle, or fix that package"
    )
    return ManifestInvalid(Fault(place, "bundle_not_opened", text))


def _outdated(plug_in: EntryPoint) -> ManifestInvalid | None:
    """The fault of a process that runs another version of a package than is installed, for which a bundle may be made."""
    package = plug_in.dist
    running = None if package is None else _IMPORTED.get(package.name)
    if package is None or running in (None, package.version):
        return None
    text = f"this process runs {package.name} {running}, and {package.version} is installed: restart it"
    return ManifestInvalid(Fault(PLACE, "pipeline_unavailable", text))


def _unavailable(plug_in: EntryPoint, reason: str) -> ManifestInvalid:
    advice = "fix or update that package where medqueue is installed, or install what it lacks"
    text = f"{_package(plug_in)} provides {plug_in.name!r} by {plug_in.value}, which cannot be used ({reason}): {advice}"
    return ManifestInvalid(Fault(PLACE, "pipeline_unavailable", text))


def _package(plug_in: EntryPoint) -> str:
    """Such as "the package example-pipelines 1.2.0"."""
    package = plug_in.dist
    return f"the package {package.name} {package.version}" if package is not None else "a package"
