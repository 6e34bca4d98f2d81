"""Great-circle distances: on a sphere, as the crow flies, without roads. Up to 0.5 % off those on the ellipsoid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from models.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

EARTH_RADIUS_M: Final = 6_371_008.8  # mean radius R1 of GRS 80 (Moritz, J Geodesy 74:128, 2000)


def metres_from(latitude: float, longitude: float, latitudes: Floats, longitudes: Floats) -> Ints:
    """Whole metres from a point to others, int64 [N], by the haversine formula (Sinnott, Sky and Telescope 68:159, 1984).

    Degrees; latitudes and longitudes are float64 [N].
    """
    here, there = np.radians(latitude), np.radians(latitudes)
    north, east = np.radians(latitudes - latitude), np.radians(longitudes - longitude)
    haversine = np.sin(north / 2) ** 2 + np.cos(here) * np.cos(there) * np.sin(east / 2) ** 2
    metres: Ints = np.rint(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(haversine, 1)))).astype(np.int64)
    return metres


def on_sphere(latitudes: Any, longitudes: Any) -> Floats:
    """Points of the unit sphere, float64 [N,3], of degrees [N]."""
    north, east = np.radians(latitudes), np.radians(longitudes)
    points: Floats = np.stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1
    )
    return points


def chords_m(points: Floats, point: Floats) -> Floats:
    """The straight lines through the Earth from one point of the unit sphere to others, in metres, float64 [N].

    Never longer than the great circle; up to 200 km at most 8.3 m shorter.
    """
    chords: Floats = EARTH_RADIUS_M * np.sqrt(np.maximum(2 - 2 * (points @ point), 0))
    return chords
