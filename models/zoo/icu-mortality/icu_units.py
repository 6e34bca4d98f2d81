"""Which wrong units icu-mortality notices: a list of mistakes, limits of suspicion, and how many stays are caught."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.pipelines.timeseries_measures import Measure, faults_of_series

Stay = Mapping[str, Sequence[tuple[float, float]]]
FALSE_ALARMS = 0.005  # of the stays with the parameter, of each suspicion


class Mistake(NamedTuple):
    """A parameter sent as its value times `factor` plus `offset`, with as many decimals as are usual in that unit.

    `suspect` says whether a median that few patients have is a reason to abstain: of any values, or of whole numbers alone.
    """

    name: str
    unit: str
    factor: float
    decimals: int
    offset: float = 0.0
    suspect: Literal["any", "whole"] | None = None

    @property
    def title(self) -> str:
        """Such as "BUN in mmol/L"."""
        return f"{self.name} in {self.unit}"

    def sent(self, values: Iterable[float], *, rounded: bool) -> list[float]:
        """Values in the wrong unit."""
        found = (value * self.factor + self.offset for value in values)
        return [round(value, self.decimals) if rounded else value for value in found]


# Factors: molar masses (g/mol) urea 60.06 with two nitrogen atoms of 14.007, bilirubin 584.7, lactate 90.08, magnesium 24.305,
# creatinine 113.1, glucose 180.2, cholesterol 386.7, potassium 39.10; 7.5006 mm[Hg] a kPa; 2.2046 pounds a kg; 60 U a ukat.
MISTAKES = [
    Mistake("Age", "months", 12, 0),
    Mistake("Height", "m", 0.01, 2),
    Mistake("Height", "inches", 1 / 2.54, 0),
    Mistake("Weight", "pounds", 2.2046, 0, suspect="any"),
    Mistake("Weight", "g", 1000, 0),
    Mistake("Albumin", "g/L", 10, 0),
    Mistake("ALP", "ukat/L", 1 / 60, 2),
    Mistake("ALT", "ukat/L", 1 / 60, 2),
    Mistake("AST", "ukat/L", 1 / 60, 2),
    Mistake("Bilirubin", "umol/L", 17.1, 0, suspect="whole"),
    Mistake("BUN", "mmol/L of urea", 0.357, 1),
    Mistake("BUN", "mg/dL of urea", 2.144, 0),
    Mistake("Cholesterol", "mmol/L", 1 / 38.67, 1),
    Mistake("Creatinine", "umol/L", 88.4, 0),
    Mistake("Creatinine", "mmol/L", 0.0884, 3),
    Mistake("DiasABP", "kPa", 1 / 7.5006, 1),
    Mistake("FiO2", "%", 100, 0),
    Mistake("Glucose", "mmol/L", 1 / 18.02, 1),
    Mistake("HCT", "1 (fraction)", 0.01, 2),
    Mistake("HR", "1/s", 1 / 60, 2),
    Mistake("K", "mg/dL", 3.91, 1),
    Mistake("Lactate", "mg/dL", 9.008, 0, suspect="whole"),
    Mistake("Lactate", "mg/dL with a decimal", 9.008, 1, suspect="any"),
    Mistake("MAP", "kPa", 1 / 7.5006, 1),
    Mistake("Mg", "mmol/L", 1 / 2.4305, 2, suspect="any"),
    Mistake("Mg", "meq/L", 2 / 2.4305, 1),
    Mistake("Na", "mg/dL", 2.299, 0),
    Mistake("NIDiasABP", "kPa", 1 / 7.5006, 1),
    Mistake("NIMAP", "kPa", 1 / 7.5006, 1),
    Mistake("NISysABP", "kPa", 1 / 7.5006, 1),
    Mistake("PaCO2", "kPa", 1 / 7.5006, 1),
    Mistake("PaO2", "kPa", 1 / 7.5006, 1),
    Mistake("Platelets", "1/uL", 1000, 0),
    Mistake("RespRate", "1/s", 1 / 60, 2),
    Mistake("SaO2", "1 (fraction)", 0.01, 2),
    Mistake("SysABP", "kPa", 1 / 7.5006, 1),
    Mistake("Temp", "degrees Fahrenheit", 1.8, 1, 32),
    Mistake("Temp", "K", 1, 1, 273.15),
    Mistake("TroponinI", "ng/L", 1000, 0),
    Mistake("TroponinT", "ng/L", 1000, 0, suspect="whole"),
    Mistake("Urine", "L", 0.001, 2),
    Mistake("WBC", "1/uL", 1000, 0),
]


def suspect_units(stays: Sequence[Stay]) -> dict[str, list[dict[str, object]]]:
    """By parameter, the tables `suspect_units` of a manifest: limits that at most FALSE_ALARMS of the stays reach."""
    found: dict[str, list[dict[str, object]]] = {}
    for mistake in MISTAKES:
        if mistake.suspect is None:
            continue
        series = [values_of(stay, mistake.name) for stay in stays if mistake.name in stay]
        whole = mistake.suspect == "whole"
        medians = [median(each) for each in series if not whole or all(map(float.is_integer, each))]
        key, limit = "from_median", _limit(medians, len(series), up=mistake.factor > 1)
        if mistake.factor < 1:
            key = "to_median"
        unit = mistake.unit.removesuffix(" with a decimal")
        found.setdefault(mistake.name, []).append(
            {"unit": unit, key: limit} | ({"whole": True} if whole else {})
        )
    return found


def _limit(medians: Sequence[float], stays: int, *, up: bool) -> float:
    """The limit nearest to the middle that at most FALSE_ALARMS of so many stays reach."""
    ordered = sorted(medians, reverse=up)
    allowed = int(FALSE_ALARMS * stays)
    if allowed >= len(ordered):
        return 0.0
    beyond = ordered[:allowed]
    inside = ordered[allowed]
    if up:
        return min((each for each in beyond if each > inside), default=inside + 0.1)
    return max((each for each in beyond if each < inside), default=inside - 0.1)


def values_of(stay: Stay, name: str) -> list[float]:
    return [float(value) for _, value in stay[name]]


def with_units(measures: Sequence[Measure], units: Mapping[str, object]) -> dict[str, Measure]:
    """Measures by name, with their suspect units."""
    return {
        each.name: Measure.model_validate(each.model_dump() | {"suspect_units": units.get(each.name, ())})
        for each in measures
    }


def notice(measures: Mapping[str, Measure], stay: Stay, mistake: Mistake, *, rounded: bool) -> str | None:
    """What becomes of a stay with the parameter in the wrong unit: "refused", "abstained", or None if nothing is noticed."""
    measure, name = measures[mistake.name], mistake.name
    values = mistake.sent(values_of(stay, name), rounded=rounded)
    series = dict(stay) | {
        name: [(hours, value) for (hours, _), value in zip(stay[name], values, strict=True)]
    }
    if any(any(measure.faults(value)) for value in values):
        return "refused"
    concerned = [each for each in measures.values() if name in (each.name, each.not_below)]
    if any(faults_of_series(concerned, series, 0.0)):
        return "refused"
    return "abstained" if any(measure.doubts(values)) else None


def unit_figures(
    measures: Sequence[Measure],
    stays: Sequence[Stay],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[dict[str, object], NDArray[np.bool_]]:
    """Shares of stays by mistake, with limits of suspicion of other folds; and which stays [n] are suspected as they are."""
    counts = {
        mistake.title: np.zeros(4) for mistake in MISTAKES
    }  # stays; refused; abstained; noticed unrounded
    suspected = np.zeros(len(stays), bool)
    for kept, held in folds:
        known = with_units(measures, suspect_units([stays[place] for place in kept]))
        for place in held:
            stay = stays[place]
            suspected[place] = any(any(known[name].doubts(values_of(stay, name))) for name in stay)
            for mistake in MISTAKES:
                if mistake.name in stay:
                    outcome = notice(known, stay, mistake, rounded=True)
                    exact = notice(known, stay, mistake, rounded=False)
                    counts[mistake.title] += (
                        1,
                        outcome == "refused",
                        outcome == "abstained",
                        exact is not None,
                    )
    shares = {
        title: {
            "stays": int(number), "refused": refused / number, "abstained": doubted / number,
            "noticed_unrounded": exact / number,
        }
        for title, (number, refused, doubted, exact) in counts.items()
    }  # fmt: skip
    return shares, suspected


def units_table(found: Mapping[str, Mapping[str, float]]) -> str:
    """The rows of the card's table, the worst noticed first; figures are rounded as in metrics.json."""
    rows = sorted(found.items(), key=lambda each: (each[1]["refused"] + each[1]["abstained"], each[0]))
    return "\n".join(
        f"| {title} | {one['refused']} | {one['abstained']} | {one['noticed_unrounded']} | {one['stays']} |"
        for title, one in rows
    )
