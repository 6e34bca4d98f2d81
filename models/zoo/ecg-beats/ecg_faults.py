"""Faults that recordings of ecg-beats may have, made of real ones, and what comes of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.pipelines import InputRejected
from models.pipelines.beat_classification import WANDER_S, Reading
from models.pipelines.recording_faults import spectral_centroid
from models.pipelines.signals import resampled, without_wander
from models.training.heartbeats import GAIN, NEAR_S, RATE, Record, paired

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Faulty = tuple[Floats, float]  # samples as sent, and how many of them were one

MINUTE = round(60 * RATE)
MINUTES = (5, 15, 25)  # of each record
MARGIN = 0.05  # beyond the least and the greatest centroid of the other records
STRETCH = round(2 * RATE)


def _clipped(height: float) -> Callable[[Floats], Faulty]:
    """At a share of the usual height of the signal above or below its middle."""

    def fault(samples: Floats) -> Faulty:
        middle, starts = np.median(samples), range(0, len(samples) - STRETCH + 1, STRETCH)
        usual = np.median([np.abs(samples[start : start + STRETCH] - middle).max() for start in starts])
        return np.clip(samples, middle - height * usual, middle + height * usual), 1.0

    return fault


def _flat(number: int, seconds: float) -> Callable[[Floats], Faulty]:
    """So many stretches that repeat their first value."""

    def fault(samples: Floats) -> Faulty:
        found, length = samples.copy(), round(seconds * RATE)
        for start in np.linspace(500, len(samples) - 1000, number).astype(int).tolist():
            found[start : start + length] = found[start]
        return found, 1.0

    return fault


def _taken_at(rate: float) -> Callable[[Floats], Faulty]:
    return lambda samples: (np.round(resampled(samples, RATE, rate)), rate / RATE)


FAULTS: Mapping[str, Callable[[Floats], Faulty]] = {
    "none": lambda samples: (samples, 1.0),
    "inverted": lambda samples: (-samples, 1.0),
    "ten_times_the_gain": lambda samples: (samples * 10, 1.0),
    "a_tenth_of_the_gain": lambda samples: (np.round(samples / 10), 1.0),
    "clipped_at_90_percent": _clipped(0.9),
    "clipped_at_70_percent": _clipped(0.7),
    "clipped_at_50_percent": _clipped(0.5),
    "clipped_at_30_percent": _clipped(0.3),
    "flat_for_1_s_five_times": _flat(5, 1.0),
    "flat_for_2_s_twice": _flat(2, 2.0),
    "flat_for_4_s_three_times": _flat(3, 4.0),
    "taken_at_62_hz": _taken_at(62.5),
    "taken_at_100_hz": _taken_at(100),
    "taken_at_180_hz": _taken_at(180),
    "taken_at_250_hz": _taken_at(250),
    "taken_at_360_hz": _taken_at(360),
}


def centroid(samples: Floats) -> float:
    """Of samples in units at RATE, as the pipeline sees them."""
    return spectral_centroid(without_wander(samples / GAIN, RATE, WANDER_S), RATE)


def centroids(records: Sequence[Record]) -> list[Floats]:
    """Of each whole minute of each record."""
    return [
        np.array(
            [
                centroid(each.samples[start : start + MINUTE].astype(float))
                for start in range(0, len(each.samples) - MINUTE + 1, MINUTE)
            ]
        )
        for each in records
    ]


def limits(found: Sequence[Floats]) -> tuple[float, float]:
    """The least and the greatest centroid, with MARGIN."""
    every = np.concatenate(found)
    return round(float(every.min()) * (1 - MARGIN), 1), round(float(every.max()) * (1 + MARGIN), 1)


def limits_of_folds(found: Sequence[Floats], fold: Ints) -> list[tuple[float, float]]:
    """For each record the limits of the records of other folds [records]."""
    return [
        limits([each for each, place in zip(found, fold, strict=True) if place != own])
        for own in fold.tolist()
    ]


def strange_minutes(found: Sequence[Floats], bounds: Sequence[tuple[float, float]]) -> int:
    """How many minutes lie outside of the bounds of their record."""
    return sum(
        int(((each < low) | (each > high)).sum()) for each, (low, high) in zip(found, bounds, strict=True)
    )


def fault_figures(
    records: Sequence[Record],
    bounds: Sequence[tuple[float, float]],
    read: Callable[[Floats], Reading],
    answer: Callable[[Floats], Ints],
) -> dict[str, dict[str, float | None]]:
    """By fault: shares of recordings that are refused and abstained from; and of the beats of the others.

    `read` reads samples as sent at RATE, and `answer` says the classes [b] of features [b,F].
    """
    plain = [
        [read(each.samples[minute * MINUTE : (minute + 1) * MINUTE].astype(float)) for minute in MINUTES]
        for each in records
    ]
    said = [
        [None if each.unfit is not None else answer(each.feeds["features"]) for each in part]
        for part in plain
    ]
    known = _Known(records, bounds, plain, said)
    return {kind: _figures(fault, known, read, answer) for kind, fault in FAULTS.items()}


class _Known(NamedTuple):
    """Records with bounds of their centroid, and of their MINUTES without a fault what is read and answered."""

    records: Sequence[Record]
    bounds: Sequence[tuple[float, float]]
    plain: Sequence[Sequence[Reading]]
    said: Sequence[Sequence[Ints | None]]


def _figures(
    fault: Callable[[Floats], Faulty],
    known: _Known,
    read: Callable[[Floats], Reading],
    answer: Callable[[Floats], Ints],
) -> dict[str, float | None]:
    refused, abstained, doubted, lost, same, told, total = 0, 0, 0, 0, 0, 0, 0
    for number, (record, (low, high)) in enumerate(zip(known.records, known.bounds, strict=True)):
        for turn, minute in enumerate(MINUTES):
            whole = record.samples[minute * MINUTE : (minute + 1) * MINUTE].astype(float)
            samples, scale = fault(whole)
            try:
                reading = read(samples)
            except InputRejected:
                refused += 1
                continue
            if reading.unfit is not None or not low <= centroid(samples) <= high:
                abstained += 1
                continue
            before, places = known.said[number][turn], known.plain[number][turn].places
            if before is None:
                continue
            place = paired(np.rint(reading.places / scale).astype(int), places, NEAR_S * RATE)
            sure = (place >= 0) & ~reading.doubtful
            same += int((before[place] == answer(reading.feeds["features"]))[sure].sum())
            told, total = told + int(sure.sum()), total + len(places)
            doubted, lost = (
                doubted + int(reading.doubtful.sum()),
                lost + len(places) - int((place >= 0).sum()),
            )
    recordings = len(known.records) * len(MINUTES)
    return {
        "refused": refused / recordings, "abstained": abstained / recordings,
        "beats_abstained": doubted / total if total else None, "beats_lost": lost / total if total else None,
        "same_answers": same / told if told else None,
    }  # fmt: skip


def faults_table(found: Mapping[str, Mapping[str, object]]) -> str:
    """The rows of the card's table."""
    return "\n".join(
        f"| {kind.replace('_', ' ')} | {' | '.join('-' if each is None else str(each) for each in one.values())} |"
        for kind, one in found.items()
    )
