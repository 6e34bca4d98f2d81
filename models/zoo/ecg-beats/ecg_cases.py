"""Made-up recordings for the golden cases of ecg-beats: no patient's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.heartbeats import GAIN, RATE, noise
from models.training.synthetic_ecg import recording

Floats = NDArray[np.float64]

WAVES = ("sine", "triangle", "sawtooth", "square_wave")


def sent(
    samples: Floats, *, gain: float = GAIN, rate: float = RATE, beats: Sequence[int] | None = None
) -> dict[str, Any]:
    """Samples [n] in mV as a caller sends them."""
    digits = 0 if gain >= GAIN else 3
    scaled = np.round(samples * gain, digits)
    case = {
        "lead": "II", "sampling_rate": rate, "gain": gain,
        "samples": (scaled if digits else scaled.astype(int)).tolist(),
    }  # fmt: skip
    return case if beats is None else case | {"beats": list(beats)}


def rhythm(beats: str, **more: Any) -> tuple[Floats, list[int]]:
    return recording(list(beats), **more)


def stopped(samples: Floats, seconds: float) -> Floats:
    """`samples` [n] in mV at RATE, of whose end so many seconds are a flat line."""
    flat = round(seconds * RATE)
    return np.append(samples[:-flat], np.full(flat, samples[-flat]))


def wave(kind: str, seconds: float, chance: np.random.Generator) -> Floats:
    """A recording of no heart at RATE, in mV: one of WAVES, at 0.7 to 2 Hz, with a little noise."""
    cycles = np.arange(round(seconds * RATE)) / RATE * chance.uniform(0.7, 2) + chance.random()
    rising = cycles % 1
    shape = {
        "sine": np.sin(2 * np.pi * cycles),
        "triangle": 4 * np.abs(rising - 0.5) - 1,
        "sawtooth": 2 * rising - 1,
        "square_wave": np.sign(rising - 0.5),
    }[kind]
    return shape + 0.01 * chance.standard_normal(len(shape))


def golden() -> list[tuple[str, object]]:
    """(note, input) of each case."""
    chance = np.random.default_rng(7)
    normal, peaks = rhythm("n" * 14)
    return [
        ("sinus rhythm, R peaks sent", sent(normal, beats=peaks)),
        ("sinus rhythm, R peaks detected", sent(normal)),
        ("single ventricular beats", sent(rhythm("nnnnnvnnnnnvnnnn")[0])),
        ("a run of three ventricular beats", sent(rhythm("nnnnnnnvvvnnnnnn")[0])),
        ("ventricular beats in every third place", sent(rhythm("nnvnnvnnvnnvnnvn")[0])),
        ("single supraventricular beats", sent(rhythm("nnnnnsnnnnnsnnnn")[0])),
        ("fusion beats", sent(rhythm("nnnnnfnnnnnfnnnnnn")[0])),
        (
            "all classes, 250 Hz, in microvolts",
            sent(rhythm("nnnnsnnnvnnfn", rate=250)[0], gain=1000, rate=250),
        ),
        ("50 beats a minute, in millivolts", sent(rhythm("nnnnnvnnnnn", interval_s=1.2)[0], gain=1)),
        ("110 beats a minute", sent(rhythm("n" * 21, interval_s=0.545)[0])),
        (
            "a tachycardia of ventricular beats, from which it abstains",
            sent(rhythm("v" * 34, interval_s=0.43)[0]),
        ),
        ("noise of muscles alone, from which it abstains", sent(noise("muscle_noise", 12, chance))),
        (
            "eight seconds without a beat at the end, from which it abstains",
            sent(stopped(rhythm("n" * 16)[0], 8)),
        ),
        ("a triangle wave, from which it abstains", sent(wave("triangle", 12, np.random.default_rng(2)))),
    ]
