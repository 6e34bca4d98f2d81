"""What a beat of an electrocardiogram is described by: its RR intervals, and its shape beside the recording's typical beat.

What differs between healthy people is divided out: intervals by the recording's own, shapes by the height of its typical beat
(de Chazal et al., IEEE Trans Biomed Eng 51:1196, 2004; Llamedo and Martinez, IEEE Trans Biomed Eng 58:616, 2011), and every
feature is also given in deviations of the recording. Pure functions on numpy arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from models.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

BEFORE_S: Final = 0.36
AFTER_S: Final = 0.464
NEAR: Final = 10  # RR intervals before a beat, and as many after it, are its surroundings
WIDE: Final = 32
NEIGHBORS: Final = 8  # beats on either side whose median is the local shape
CLIPPED: Final = 50.0  # features end here on both sides: a division by little says no more
RHYTHM: Final = (
    "pre", "post", "pre_share", "post_share", "pre_local", "post_local", "pre2_local", "post2_local", "pre_pre2", "post_pre",
    "pair_local", "local_share", "local_spread", "local_change", "local_change_max", "short_before", "short_after",
    "least_before", "least_after", "pre_pre234", "median", "wide_change", "change", "pre_apart",
)  # fmt: skip
_PARTS: Final = {
    "p": (-0.264, -0.08),
    "qrs": (-0.08, 0.104),
    "t": (0.104, 0.44),
    "wide": (-0.12, 0.2),
    "all": (-BEFORE_S, AFTER_S),
}
_OF_PART: Final = ("correlation", "distance", "range", "top", "bottom", "mean")
_SHAPE: Final = (
    "width_25", "width_50", "width_25_change", "width_50_change", "slope", "sharpness", "amplitude", "amplitude_change",
    "previous", "next", "typical_previous", "typical_next", "distance_previous", "distance_next",
    "local_correlation", "local_distance", "typical_width", "typical_sign", "typical_p", "typical_t", "agreement",
)  # fmt: skip
SHAPE: Final = (*(f"{part}_{name}" for part in _PARTS for name in _OF_PART), *_SHAPE)
# What is the same for all beats of a recording.
OF_RECORDING: Final = (
    "median",
    "change",
    "typical_width",
    "typical_sign",
    "typical_p",
    "typical_t",
    "agreement",
)
OF_BEAT: Final = tuple(name for name in (*RHYTHM, *SHAPE) if name not in OF_RECORDING)
FEATURES: Final = (*RHYTHM, *SHAPE, *(f"{name}_deviation" for name in OF_BEAT))
_LITTLE: Final = 1e-6
_LEAST_DEVIATION: Final = 0.005


class Beats(NamedTuple):
    """The windows [b,w] of a recording's beats in mV, less their medians, and its typical beat [w]."""

    windows: Floats
    typical: Floats


def cut(samples: Floats, places: Ints, rate: float) -> Beats:
    """Windows of `samples` [n] from BEFORE_S before to AFTER_S after each of `places` [b]."""
    before, after = _span(rate)
    padded = np.pad(samples, (before, after), mode="edge")
    windows = padded[places[:, None] + np.arange(before + after)]
    windows = windows - np.median(windows, axis=1, keepdims=True)
    return Beats(windows, _typical(windows))


def window_length(rate: float) -> int:
    """Samples of a window."""
    return sum(_span(rate))


def features(beats: Beats, places: Ints, rate: float) -> Floats:
    """[b, FEATURES] of a recording's beats at `places` [b], at least three.

    The deviation of a feature is how far it is from the recording's median, in median absolute deviations of the recording.
    """
    found = np.concatenate([rhythm_features(places, rate), shape_features(beats, rate)], axis=1)
    varying = found[:, [name not in OF_RECORDING for name in (*RHYTHM, *SHAPE)]]
    apart = varying - np.median(varying, axis=0)
    deviations = apart / (np.median(np.abs(apart), axis=0) + _LEAST_DEVIATION)
    return np.concatenate([found, np.clip(deviations, -CLIPPED, CLIPPED)], axis=1)


def rhythm_features(places: Ints, rate: float) -> Floats:
    """[b, RHYTHM] of beats at `places` [b], at least three."""
    intervals = np.diff(places) / rate
    median = float(np.median(intervals))
    before, after = _around(intervals, NEAR)
    near = np.concatenate([before, after], axis=1)
    local = np.median(near, axis=1)
    pre, post, pre2, post2 = before[:, 0], after[:, 0], before[:, 1], after[:, 1]
    changes = np.abs(np.diff(before, axis=1))
    wide = np.concatenate(_around(np.abs(np.diff(intervals, append=intervals[-1:])), WIDE), axis=1)
    spread = np.median(np.abs(near - local[:, None]), axis=1)
    short = local[:, None] * 0.85
    return np.stack(
        [
            pre, post, pre / median, post / median, pre / local, post / local, pre2 / local, post2 / local,
            pre / pre2, post / pre, (pre + post) / (2 * local), local / median,
            near.std(1) / near.mean(1), changes.mean(1) / local, changes.max(1) / local,
            (before < short).sum(1), (after < short).sum(1), before.min(1) / local, after.min(1) / local,
            pre / before[:, 1:4].mean(1), np.full(len(pre), median), np.median(wide, axis=1) / median,
            np.full(len(pre), np.median(np.abs(np.diff(intervals))) / median), (pre - local) / (spread + 0.02),
        ],
        axis=1,
    )  # fmt: skip


def shape_features(beats: Beats, rate: float) -> Floats:
    """[b, SHAPE] of a recording's beats."""
    before, _ = _span(rate)
    places = {
        name: slice(max(before + round(start * rate), 0), before + round(end * rate))
        for name, (start, end) in _PARTS.items()
    }
    scale = max(float(np.ptp(beats.typical[places["qrs"]])), _LITTLE)
    windows, typical = beats.windows / scale, beats.typical / scale
    by_part = {name: _compared(windows[:, place], typical[place]) for name, place in places.items()}
    found = [each for part in by_part.values() for each in part]
    found += _sharpness(windows[:, places["wide"]], typical[places["wide"]])
    found += [beats.windows[:, before], windows[:, before] - typical[before]]
    found += _beside(windows, by_part["all"], places["qrs"])
    found += [np.full(len(windows), value) for value in _typical_traits(typical, places)]
    found.append(np.full(len(windows), np.median(by_part["qrs"][0])))
    return np.clip(np.stack(found, axis=1), -CLIPPED, CLIPPED)


def agreement(beats: Beats, rate: float) -> float:
    """The median correlation of a recording's QRS complexes with its typical one: little where there are no beats."""
    before, _ = _span(rate)
    start, end = (before + round(each * rate) for each in _PARTS["qrs"])
    return float(np.median(_correlation(beats.windows[:, start:end], beats.typical[start:end])))


def _span(rate: float) -> tuple[int, int]:
    return round(BEFORE_S * rate), round(AFTER_S * rate)


def _typical(windows: Floats) -> Floats:
    """The median [w] of the half of the beats that are nearest to it: of the commonest shape, if there are several."""
    typical = np.median(windows, axis=0)
    for _ in range(3):
        distance = np.abs(windows - typical).sum(1)
        typical = np.median(windows[distance <= np.median(distance)], axis=0)
    return np.asarray(typical)


def _around(intervals: Floats, count: int) -> tuple[Floats, Floats]:
    """For each of b beats `count` of the b - 1 intervals before and after it [b,count], nearest first, the ends repeated."""
    beats, steps = np.arange(len(intervals) + 1)[:, None], np.arange(count)
    last = len(intervals) - 1
    return intervals[np.clip(beats - 1 - steps, 0, last)], intervals[np.clip(beats + steps, 0, last)]


def _compared(windows: Floats, typical: Floats) -> list[Floats]:
    """_OF_PART of a part of the windows [b,k] beside the same part [k] of the typical beat."""
    return [
        _correlation(windows, typical),
        np.sqrt(((windows - typical) ** 2).mean(1)),
        np.ptp(windows, axis=1) / max(float(np.ptp(typical)), 0.02),
        windows.max(1) - typical.max(),
        windows.min(1) - typical.min(),
        windows.mean(1) - typical.mean(),
    ]


def _correlation(one: Floats, other: Floats) -> Floats:
    one = one - one.mean(-1, keepdims=True)
    other = other - other.mean(-1, keepdims=True)
    return np.asarray((one * other).sum(-1) / np.sqrt((one**2).sum(-1) * (other**2).sum(-1) + _LITTLE))


def _sharpness(windows: Floats, typical: Floats) -> list[Floats]:
    """Samples that deviate by a quarter and by half of the largest deviation, the same less the typical beat's; slopes."""
    deviation, usual = np.abs(windows), np.abs(typical)
    most = np.maximum(deviation.max(1), _LITTLE)
    widths = [(deviation > share * most[:, None]).sum(1).astype(float) for share in (0.25, 0.5)]
    usual_widths = [float((usual > share * usual.max()).sum()) for share in (0.25, 0.5)]
    steepest = np.abs(np.diff(windows, axis=1)).max(1)
    return [
        *widths,
        *(width - of_typical for width, of_typical in zip(widths, usual_widths, strict=True)),
        steepest / max(float(np.abs(np.diff(typical)).max()), _LITTLE),
        steepest / most,
    ]


def _beside(windows: Floats, whole: list[Floats], qrs: slice) -> list[Floats]:
    """The likeness of a beat's neighbors to it and to the typical beat, and of the beat to the median of its surroundings."""
    alike = _correlation(windows[:-1], windows[1:])
    count, steps = len(windows), np.arange(-NEIGHBORS, NEIGHBORS + 1)
    near = np.clip(np.arange(count)[:, None] + steps, 0, count - 1)
    local = np.median(windows[:, qrs][near], axis=1)
    return [
        np.append(1.0, alike), np.append(alike, 1.0),
        np.append(1.0, whole[0][:-1]), np.append(whole[0][1:], 1.0),
        np.append(0.0, whole[1][:-1]), np.append(whole[1][1:], 0.0),
        _correlation(windows[:, qrs], local), np.sqrt(((windows[:, qrs] - local) ** 2).mean(1)),
    ]  # fmt: skip


def _typical_traits(typical: Floats, places: dict[str, slice]) -> list[float]:
    """Of the typical beat: samples over half of its height, whether it points up, and its largest deviations in P and T."""
    wide = np.abs(typical[places["wide"]])
    qrs, p, t = (typical[places[name]] for name in ("qrs", "p", "t"))
    return [
        float((wide > wide.max() / 2).sum()),
        float(qrs.max() + qrs.min()) / max(float(np.ptp(qrs)), _LITTLE),
        float(p[np.abs(p).argmax()]),
        float(t[np.abs(t).argmax()]),
    ]
