"""The child's side: reads one image file after the other from memory that it shares, and leaves its pixels there."""

import mmap
import os
import resource
import socket
import traceback
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

from models.pipelines import InputRejected, dicom_file  # noqa: F401 - imported before the fork
from models.pipelines.example_image import gray_dicom, gray_jpeg, gray_png
from models.pipelines.image_file import read_image
from models.pipelines.image_fitting import Fitting
from models.pipelines.image_header import ImageFile, ImageRefused
from models.pipelines.image_intake import ImageFileParameters, ImageIntake
from service.images import wire
from service.parsing.channel import ChannelClosed, Header
from service.parsing.limits import confine
from service.parsing.packets import Packets

_EXAMPLE: Final = (16, 16)

intake_of = lru_cache(maxsize=64)(ImageIntake.from_json)


class Full(Exception):
    """With this file, those that are read together would have too many pixels."""


class Readings:
    """Does what the parent asks of the files in the `buffer`. `most_bytes` of memory are this child's, fewer a file's."""

    def __init__(self, packets: Packets, buffer: mmap.mmap, most_bytes: int) -> None:
        self._packets = packets
        self._buffer = buffer
        self._most_bytes = self._limit_bytes = most_bytes
        self._filled = self._pixels = 0

    def answer(self, asked: Header) -> Header:
        """The answers to the first files, as many as are quick to read; the only one may be of any size."""
        self._limit(asked[wire.MEMORY])
        self._filled = self._pixels = 0
        ends = [0, *accumulate(asked[wire.BYTES])]
        contents = [self._buffer[start:end] for start, end in pairwise(ends)]
        answers = []
        for content in contents:
            try:
                answers.append(self.read(content, asked))
            except Full:
                break
        return {wire.ANSWERS: answers}

    def read(self, content: bytes, asked: Header) -> Header:
        """What one file says, or its pixels in the buffer, or why neither can be had. Raises Full."""
        try:
            if wire.INTAKE not in asked:
                return self._header(content)
            return self._decoded(content, asked)
        except Full:
            raise
        except InputRejected as rejected:
            return {wire.FAULTS: [[fault.pointer, fault.code, fault.detail] for fault in rejected.faults]}
        except MemoryError:
            return {wire.COSTLY: True}
        except Exception as error:  # noqa: BLE001 - the edge of the process: a decoder raises what it likes
            place = traceback.extract_tb(error.__traceback__)[-1]
            return {wire.FAILED: f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"}

    def _header(self, content: bytes) -> Header:
        try:
            return wire.header_of(read_image(content))
        except ImageRefused:
            return {wire.PIXELS: 0, wire.SYNTHETIC: False}

    def _decoded(self, content: bytes, asked: Header) -> Header:
        intake, told = intake_of(asked[wire.INTAKE]), Header()
        fitting = Fitting(*asked[wire.FITTING]) if wire.FITTING in asked else None

        def begins(image: ImageFile) -> None:
            told.update(wire.header_of(image))
            pixels = told[wire.PIXELS]
            self._pixels += pixels if fitting is None else max(pixels, fitting.width * fitting.height)
            if len(asked[wire.BYTES]) > 1 and self._pixels > wire.QUICK_PIXELS:
                raise Full
            if pixels > wire.QUICK_PIXELS:
                self._packets.send({wire.BEGINS: pixels})

        pixels = intake.decoded(content, begins)
        told[wire.SIZE] = pixels.size
        if asked[wire.WANTED]:
            samples = (pixels if fitting is None else fitting(pixels)).tobytes()
            self._buffer[self._filled : self._filled + len(samples)] = samples
            self._filled += len(samples)
        return told

    def _limit(self, most_bytes: int) -> None:
        """Leave this process so much memory for a file. What it was given when it started stays the upper limit."""
        if most_bytes != self._limit_bytes:
            _, most = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (most - self._most_bytes + most_bytes, most))
            self._limit_bytes = most_bytes


def serve(warm: int, descriptors: Sequence[int]) -> None:
    """Read files within limits until the parent closes the connection. The second descriptor is the shared memory's."""
    packets = Packets(socket.socket(fileno=descriptors[0]))
    try:
        first = packets.receive()
        confine(warm, memory_bytes=first[wire.MEMORY])
        with mmap.mmap(descriptors[1], first[wire.BYTES]) as buffer:
            os.close(descriptors[1])
            readings = Readings(packets, buffer, first[wire.MEMORY])
            while True:
                packets.send(readings.answer(packets.receive()))
    except ChannelClosed:
        return


def _read_examples() -> None:
    """Decoders import some of their parts when they first decode: have it done before the fork, with files of our own."""
    limits = ImageFileParameters.model_validate({"formats": ("PNG", "JPEG", "DICOM")})
    intake = ImageIntake(limits, 1)
    for example in (gray_png(*_EXAMPLE), gray_jpeg(*_EXAMPLE), gray_dicom(*_EXAMPLE, "OT", None)):
        intake.decoded(example).tobytes()


_read_examples()
