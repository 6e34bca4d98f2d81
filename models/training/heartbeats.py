"""Records of the MIT-BIH Arrhythmia Database with a class for each beat, and the figures that are usual for them.

Moody and Mark, IEEE Eng Med Biol Mag 20:45 (2001), ODC-By 1.0; the set DS1 of de Chazal et al., IEEE Trans Biomed Eng 51:1196
(2004). `ds1.npz` holds of each record `signal_NAME` (lead II at RATE, GAIN units a millivolt), `sample_NAME`, the numbers of
the samples that beats are at, and `aami_NAME`, their classes by ANSI/AAMI EC57; `ds1.csv` age and sex of its patient.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATE: Final = 125.0  # Hz
GAIN: Final = 200.0  # units a millivolt
CLASSES: Final = "NSVFQ"
ANSWERED: Final = 4  # of CLASSES: no model answers Q, beats that cannot be classified
NEAR_S: Final = 0.15  # within which a detected beat is an annotated one: ANSI/AAMI EC57
NOISES: Final = ("white_noise", "one_over_f_noise", "muscle_noise", "mains_hum", "steps")


class Record(NamedTuple):
    """Half an hour of a patient: samples [n], the numbers of the samples at its beats [b], and their places in CLASSES [b]."""

    name: str
    age: int
    sex: str
    samples: Ints
    beats: Ints
    classes: Ints


def read_records(folder: Path) -> Iterator[Record]:
    """The records of DS1, by number."""
    arrays = np.load(folder / "ds1.npz")
    with (folder / "ds1.csv").open() as file:
        for row in csv.DictReader(file):
            signal, beats, letters = (
                arrays[f"{part}_{row['record']}"] for part in ("signal", "sample", "aami")
            )
            classes = np.array([CLASSES.index(letter) for letter in letters])
            yield Record(
                row["record"], int(row["age"]), row["sex"], signal.astype(int), beats.astype(int), classes
            )


def paired(found: Ints, annotated: Ints, within: float) -> Ints:
    """For each of `found` [f] the place in `annotated` [a] of the beat that it is, or -1: the nearest, and each of them once.

    Both are in order, and numbers of samples, as `within` is. There is at least one annotated beat.
    """
    behind = np.minimum(np.searchsorted(annotated, found), len(annotated) - 1)
    before = np.maximum(behind - 1, 0)
    nearer = np.abs(annotated[before] - found) <= np.abs(annotated[behind] - found)
    place = np.where(nearer, before, behind)
    gap = np.abs(annotated[place] - found)
    answer, taken = np.full(len(found), -1), set[int]()
    for each in np.argsort(gap, kind="stable"):
        if gap[each] <= within and place[each] not in taken:
            answer[each] = place[each]
            taken.add(int(place[each]))
    return answer


def table_of(answered: Ints, truth: Ints) -> Floats:
    """How many beats of each of the classes ANSWERED (rows) got which answer (columns). Answers [N], truth [N]."""
    return (
        np.bincount(truth * ANSWERED + answered, minlength=ANSWERED**2)
        .reshape(ANSWERED, ANSWERED)
        .astype(float)
    )


def kappa(table: Floats) -> float:
    """Cohen's kappa (1960) of a table of truth and answers [C, C]; NaN of none, and if all are of one class."""
    total = float(table.sum())
    by_chance = float(table.sum(0) @ table.sum(1))
    if by_chance == total**2:
        return float("nan")
    chance = by_chance / total**2
    return float((table.trace() / total - chance) / (1 - chance))


def jk_index(table: Floats, ectopic: tuple[int, int] = (1, 2)) -> float:
    """A half of kappa and an eighth of the sum of sensitivity and positive predictive value of S and of V.

    Mar et al., IEEE Trans Biomed Eng 58:2168 (2011). A table of truth and answers [C, C], and the places of S and V.
    """
    with np.errstate(invalid="ignore"):
        shares = [table.diagonal() / table.sum(1), table.diagonal() / table.sum(0)]
    return kappa(table) / 2 + float(sum(np.nan_to_num(each[list(ectopic)]).sum() for each in shares)) / 8


def noise(kind: str, seconds: float, chance: np.random.Generator) -> Floats:
    """A recording of no heart at RATE, in mV: one of NOISES."""
    count = round(seconds * RATE)
    clock, white = np.arange(count) / RATE, chance.standard_normal(count)
    if kind == "white_noise":
        return 0.3 * white
    if kind == "one_over_f_noise":
        frequency = np.fft.rfftfreq(count, 1 / RATE)
        spectrum = np.fft.rfft(white) / np.sqrt(np.maximum(frequency, 0.5))
        return 0.4 * np.asarray(np.fft.irfft(spectrum, count))
    if kind == "muscle_noise":  # in bursts
        return 0.3 * white * (1 + np.sin(2 * np.pi * clock / chance.uniform(0.6, 3)))
    if kind == "mains_hum":  # of 50 Hz, swelling
        return 0.5 * np.sin(2 * np.pi * 50 * clock) * (1 + 0.2 * np.sin(clock)) + 0.02 * white
    jumps = chance.standard_normal(count) * (chance.random(count) < 0.01)  # of a loose electrode
    return 0.5 * np.cumsum(jumps) + 0.02 * white
