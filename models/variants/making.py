"""Writes the bundle of a variant: graphs, manifest, golden answers, card. It appears whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from models.bundle import CARD_NAME, Bundle, BundleRefused, Fault, graph_files, read_bundle, read_text
from models.checking import publishable, sealed
from models.derived import copy_files, new_folder
from models.golden_cases import GOLDEN_NAME, encode_cases, golden_table
from models.manifest import MANIFEST_NAME, ModelManifest, Precision, toml_table
from models.pipelines import Case
from models.precision import precision_of
from models.probing import HasExtremes
from models.toml_text import toml_text
from models.variants.half import rounding_visibly
from models.variants.measuring import Deviation, LocalModel, cpu_ms, largest
from models.variants.schemes import Attempt, Scheme
from models.weights import lie_beside

OLDEST: Final = 13  # operator set of ONNX whose DequantizeLinear has a scale for each channel
# Kernels add in another order for another size of a batch. float16 has 11 significant bits: four steps of 2^-11 below 1.
FP16_ROUNDING: Final = 2**-9

Figures = Mapping[str, float | str]
# (the original, the variant) -> figures of the variant. Raises BundleRefused where they lose too much.
Measure = Callable[[LocalModel, LocalModel], Figures]


@dataclass(frozen=True)
class Gain:
    """What a variant gained, and what it cost. Sizes are those of the graphs."""

    bytes_before: int
    bytes_after: int
    cpu_ms_before: float
    cpu_ms_after: float
    deviation: Deviation
    tolerance: float
    said: str


def write_variant(
    source: Path,
    folder: Path,
    scheme: Scheme,
    *,
    version: str | None = None,
    calibration: Sequence[Case] = (),
    measure: Measure | None = None,
) -> tuple[Bundle, Gain]:
    """Write and seal a variant of the bundle `source` in the new `folder`. Raises BundleRefused, or FileExistsError."""
    with new_folder(folder) as made:
        bundle = publishable(source)
        _check_suited(bundle, scheme)
        written = _Writing(bundle, made, scheme, version).written(calibration, measure)
    return read_bundle(folder), written


class _Writing:
    """The writing of one variant into the new `folder`."""

    def __init__(self, bundle: Bundle, folder: Path, scheme: Scheme, version: str | None) -> None:
        self._bundle = bundle
        self._folder = folder
        self._scheme = scheme
        own = bundle.manifest.version
        joined = "." if "-" in own else "-"
        self._version = version or f"{own}{joined}{scheme.suffix}"
        if self._version == own:
            reason = f"{own} is the version of the original: give the variant another one"
            raise BundleRefused(Fault(f"{MANIFEST_NAME}: version", "variant_version", reason))
        self._original = LocalModel(bundle.folder)
        self._cases = encode_cases(bundle.golden, self._original.pipeline)

    def written(self, calibration: Sequence[Case], measure: Measure | None) -> Gain:
        self._copy_files()
        self._write_manifest(None)
        attempt, deviation = self._converted(calibration)
        variant = LocalModel(self._folder)
        figures = None if measure is None else measure(self._original, variant)
        self._write_manifest(figures)
        self._write_golden()
        self._write_card(attempt, deviation, figures)
        sealed(self._folder, golden=False)
        before, after = cpu_ms([self._original, variant], self._cases)
        files = graph_files(self._bundle.manifest)
        return Gain(
            _size(self._bundle.folder, files), _size(self._folder, files), before, after, deviation,
            self._tolerance, attempt.said,
        )  # fmt: skip

    @property
    def _tolerance(self) -> float:
        return self._bundle.manifest.runtime.variant_tolerance

    def _copy_files(self) -> None:
        """Every file of the bundle but those that differ."""
        own = {*graph_files(self._bundle.manifest), GOLDEN_NAME, CARD_NAME}
        copy_files(self._bundle, self._folder, apart=own)

    def _write_manifest(self, figures: Figures | None) -> None:
        """The manifest: another version and precision. Figures that were not measured again say whose they are."""
        table = toml_table(read_text(self._bundle.folder, MANIFEST_NAME))
        table["version"] = self._version
        table["runtime"] = table.get("runtime", {}) | {"precision": self._scheme.precision}
        if self._scheme.precision == "fp16":
            table["runtime"]["tolerance"] = max(self._bundle.manifest.runtime.tolerance, FP16_ROUNDING)
        if self._scheme.row_by_row:
            for graph in table.get("graphs", {}).values() or [table.setdefault("graph", {})]:
                graph["row_by_row"] = True
        if figures is not None:
            table["metrics"] = dict(figures)
        elif table.get("metrics"):
            table["metrics"]["measured_on"] = self._bundle.manifest.version
        (self._folder / MANIFEST_NAME).write_text(toml_text({**table, "files": {}}), encoding="utf-8")

    def _converted(self, calibration: Sequence[Case]) -> tuple[Attempt, Deviation]:
        """Convert the graphs by the first attempt that keeps the bound. Raises BundleRefused if none does."""
        feeds = self._feeds(calibration)
        expected = [self._original.alone(case) for case in self._cases]
        extremes = self._extremes()
        beyond = [self._original.alone(case) for case in extremes]
        found: list[Deviation] = []
        for attempt in self._scheme.attempts:
            self._write_graphs(attempt, feeds)
            variant = self._as_computed()
            deviation = largest(expected, [variant.alone(case) for case in self._cases])
            at_limits = largest(beyond, [variant.alone(case) for case in extremes])
            if max(deviation.value, at_limits.value) <= self._tolerance:
                return attempt, deviation
            found.append(deviation if deviation.value > self._tolerance else at_limits)
        raise self._deviates(found[-1], at_limits=found[-1] == at_limits)

    def _as_computed(self) -> LocalModel:
        """The variant, in float16 with every rounding and overflow that a GPU would have."""
        if self._scheme.precision != "fp16":
            return LocalModel(self._folder)
        folder = self._folder.with_name("computed")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._folder, folder)
        for file in graph_files(self._bundle.manifest):
            onnx.save(rounding_visibly(onnx.load(str(folder / file))), str(folder / file))
        return LocalModel(folder, optimized=False)

    def _deviates(self, found: Deviation, *, at_limits: bool) -> BundleRefused:
        case = "inputs at the limits of their ranges" if at_limits else f"{GOLDEN_NAME}: case {found.case}"
        reason = (
            f"as {self._scheme.suffix} the answer differs from the original's: {found}; `runtime.variant_tolerance` allows "
            f"{self._tolerance:g}. Choose another form, or keep the original"
        )
        return BundleRefused(Fault(case, "variant_deviates", reason))

    def _extremes(self) -> list[Case]:
        """Inputs at the limits of their ranges, where float16 overflows first."""
        pipeline = self._original.pipeline
        if self._scheme.precision != "fp16" or not isinstance(pipeline, HasExtremes):
            return []
        return [Case(payload, {}, {}) for payload in pipeline.extremes()]

    def _feeds(self, calibration: Sequence[Case]) -> Mapping[str, list[Any]]:
        """What each graph is fed for the calibration cases, by its file."""
        recording = LocalModel(self._bundle.folder, recording=True)
        for case in calibration:
            recording.alone(case)
        return {
            path.relative_to(self._bundle.folder).as_posix(): fed for path, fed in recording.recorded.items()
        }

    def _write_graphs(self, attempt: Attempt, feeds: Mapping[str, list[Any]]) -> None:
        for file in graph_files(self._bundle.manifest):
            model = onnx.load(str(self._bundle.folder / file))
            try:
                model = attempt.convert(model, feeds.get(file, []))
            except Exception as error:  # what ONNX Runtime's quantization raises is its own matter
                reason = f"the graph cannot be made {self._scheme.suffix}: {type(error).__name__}: {error}"
                raise BundleRefused(Fault(file, "variant_failed", reason)) from error
            (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
            onnx.save(model, str(self._folder / file))
        found = _precision(self._folder, self._bundle.manifest)
        if found != self._scheme.precision:
            reason = f"most weights stay in {found}: they are those of trees, or too few to be worth it. Keep the original"
            raise BundleRefused(Fault(graph_files(self._bundle.manifest)[0], "variant_gains_nothing", reason))

    def _write_golden(self) -> None:
        """The original's answers, which the variant has to give within the bound."""
        table = golden_table(read_text(self._bundle.folder, GOLDEN_NAME))
        for case, sealed_case in zip(table["cases"], self._bundle.golden, strict=True):
            case["tolerance"] = max(sealed_case.tolerance, self._tolerance)
        text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
        (self._folder / GOLDEN_NAME).write_text(text, encoding="utf-8")

    def _write_card(self, attempt: Attempt, deviation: Deviation, figures: Figures | None) -> None:
        manifest = self._bundle.manifest
        whose = (
            f"All figures of this card were measured on {manifest.version}."
            if figures is None
            else f"Figures above were measured on {manifest.version}; those of the variant: {_told(figures)}."
        )
        line = (
            f"\n## Precision\n\nA variant of {manifest.name} {manifest.version} ({self._bundle.digest}), made by "
            f"`medqueue models quantize`: {attempt.said}. In the golden cases the largest difference from the original's "
            f"answers is {deviation}; {self._tolerance:g} is allowed. {whose}\n"
        )
        card = f"{self._bundle.card.rstrip()}\n{line}"
        (self._folder / CARD_NAME).write_text(card, encoding="utf-8")


def _told(figures: Figures) -> str:
    return ", ".join(f"{name} {figure}" for name, figure in figures.items())


def _precision(folder: Path, manifest: ModelManifest) -> Precision:
    return precision_of(folder / file for file in graph_files(manifest))


def _size(folder: Path, files: Iterable[str]) -> int:
    return sum((folder / path).stat().st_size for path in files)


def _check_suited(bundle: Bundle, scheme: Scheme) -> None:
    """Raises BundleRefused for a bundle of which no such variant can be made."""
    if not bundle.graph_paths:
        reason = "written rules answer, and there are no weights to make smaller. Keep the original"
        raise BundleRefused(Fault(f"{MANIFEST_NAME}: method", "variant_gains_nothing", reason))
    precision = _precision(bundle.folder, bundle.manifest)
    if precision != "fp32":
        reason = f"most of its weights are {precision} already: make the variant of the bundle in fp32 that it comes from"
        raise BundleRefused(Fault(graph_files(bundle.manifest)[0], "variant_of_variant", reason))
    faults = []
    for file in graph_files(bundle.manifest):
        path = bundle.folder / file
        if lie_beside(path):
            reason = (
                "its weights lie in another file: below 2 GB load them into the graph (`onnx.save(onnx.load(path), path)`) and "
                "seal the bundle; a larger graph has to be quantized where it is exported"
            )
            faults.append(Fault(file, "variant_external_data", reason))
            continue
        version = max(
            (each.version for each in _operator_sets(path) if each.domain in {"", "ai.onnx"}), default=0
        )
        if scheme.precision == "int8" and version < OLDEST:
            reason = (
                f"it uses operator set {version}, and int8 needs {OLDEST} or later: export it again, or convert it with "
                "onnx.version_converter"
            )
            faults.append(Fault(file, "variant_operator_set", reason))
    if faults:
        raise BundleRefused(*faults)


def _operator_sets(path: Path) -> Any:
    return onnx.load(str(path), load_external_data=False).opset_import
