"""UCUM codes are told from words, and from units as they are often written."""

import pytest

from models.manifest import ManifestInvalid
from models.ucum import is_ucum
from tests.unit.models.example_bundles import FEATURES, manifest, single_pass


@pytest.mark.parametrize(
    "code",
    [
        "1", "%", "a", "mo", "wk", "d", "h", "min", "/min", "kg", "kg/m2", "mg/dL", "mmol/L", "umol/L", "ug/L", "10*3/uL",
        "10*9/L", "/uL", "[IU]/L", "m[IU]/mL", "mm[Hg]", "cm[H2O]", "Cel", "[degF]", "[pH]", "meq/L", "mosm/kg",
        "mL/min/{1.73_m2}", "{score}", "{beats}/min", "g.m/s2", "kg.(m/s2)", "dB", "mV", "ms", "uV2", "kPa", "L/min", "ukat/L",
        "m/s", "[in_i]", "mSv",
    ],
)  # fmt: skip
def test_codes_are_accepted(code: str) -> None:
    assert is_ucum(code)


@pytest.mark.parametrize(
    "text",
    [
        "years", "year", "months", "days", "hours", "minutes", "seconds", "bpm", "mmHg", "percent", "points", "score", "pounds",
        "units", "cells", "mg/dl/", "mg//dL", "kg/m^2", "x10^9/L", "IU/L", "°C", "µg/L", "(mg", "mg)", "yrs", "none", "",
    ],
)  # fmt: skip
def test_words_and_other_notations_are_refused(text: str) -> None:
    assert not is_ucum(text)


def test_a_feature_in_a_word_for_its_unit_is_refused_with_what_to_write() -> None:
    features = [{**FEATURES[0], "unit": "years"}, *FEATURES[1:]]
    with pytest.raises(ManifestInvalid) as caught:
        single_pass(manifest("tabular-regression", title="Score", features=features))
    assert "such as a for years" in caught.value.faults[0].detail
