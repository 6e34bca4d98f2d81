"""Readers of images, honest and attacked."""

from collections.abc import Iterator

import pytest

from service.images.children import ImageChildren
from service.images.reading import ReadApart


@pytest.fixture(scope="module")
def honest_children() -> Iterator[ImageChildren]:
    made = ImageChildren()
    yield made
    made.close()


@pytest.fixture(scope="module")
def hostile_children() -> Iterator[ImageChildren]:
    made = ImageChildren("tests.hostile.taken_over")
    yield made
    made.close()


@pytest.fixture
def apart(honest_children: ImageChildren) -> Iterator[ReadApart]:
    yield ReadApart(honest_children)
    honest_children.end_kept()


@pytest.fixture
def attacked(hostile_children: ImageChildren) -> Iterator[ReadApart]:
    """A reader whose children do what a file says."""
    yield ReadApart(hostile_children, file_s=1.0, short_s=0.2)
    hostile_children.end_kept()
