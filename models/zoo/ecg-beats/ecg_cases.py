"""Made-up recordings for the golden cases of ecg-beats: no patient's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.heartbeats import GAIN, RATE, noise
from models.training.synthetic_ecg import recording

Floats = NDArray[np.float64]


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
    ]
