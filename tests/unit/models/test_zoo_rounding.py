"""Answers of the bundled models on another processor: a worker there must not refuse a model for how sums are rounded."""

from pathlib import Path

import pytest

from models.bundle import bundled, fitted, read_bundle, side_files
from models.difference import deviation
from models.golden import answer
from models.golden_cases import encode_cases
from models.pipelines import load_pipeline
from models.sandbox import CpuRun

MARGIN = 10


@pytest.mark.parametrize("folder", bundled(), ids=lambda folder: folder.name)
def test_golden_cases_tolerate_ten_times_what_other_kernels_change(folder: Path) -> None:
    """Unfused operators stand for another processor: both add the same numbers up in another order."""
    bundle = read_bundle(folder)
    pipeline = load_pipeline(bundle.manifest, side_files(folder))
    run = fitted(folder, bundle.manifest, pipeline, CpuRun(optimized=False))
    scoring = pipeline.open(folder)
    for case, stored in zip(bundle.golden, encode_cases(bundle.golden, pipeline), strict=True):
        [found] = answer([stored], scoring, run)
        gap, place = deviation(case.expected, {key: found[key] for key in case.expected})
        assert gap * MARGIN <= case.tolerance, place
