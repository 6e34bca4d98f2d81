"""Children that read image files: one for the files of one owner at a time, kept for a while, since few come together."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from service.images import wire
from service.parsing.channel import ChannelClosed, Header, MessageInvalid
from service.parsing.children import ChildEnded, PacketChild, WarmParsers

# Files whose children are large enough for all others; manifests may allow more.
USUAL_PIXELS: Final = 40_000_000
USUAL_BYTES: Final = 32 * 1024**2
CHANNELS: Final = 3

KEPT: Final = 8
KEPT_S: Final = 30.0
# A child that has read so many files, or has filled so much of the shared memory, is replaced.
FILES: Final = 1000
FILLED_BYTES: Final = 4 * 1024**2

CPU_CLOCK: Final = 2  # of the process whose id the other bits are, as clock_getcpuclockid of Linux has it
S_PER_PIXEL: Final = 1e-6  # twenty times what the slowest honest kind of file takes


class Room(NamedTuple):
    """What a child must have room for: pixels, and bytes of a file."""

    pixels: int
    size_bytes: int

    def holds(self, other: Room) -> bool:
        """Whether what needs the other room fits."""
        return self.pixels >= other.pixels and self.size_bytes >= other.size_bytes


USUAL: Final = Room(USUAL_PIXELS, USUAL_BYTES)


class ImageChild:
    """A child, the memory shared with it, and whose files it reads. Raises ChannelClosed if none can be had."""

    def __init__(self, warm: WarmParsers, owner: Hashable, room: Room, niceness: int) -> None:
        self.owner, self.room, self.niceness = owner, room, niceness
        self.files = 0
        self.filled_bytes = 0
        self.used_at = time.monotonic()
        size_bytes = max(CHANNELS * room.pixels, room.size_bytes)
        descriptor = os.memfd_create("image", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size_bytes)
            # A child that makes it smaller would end whoever reads beyond.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            self.buffer = mmap.mmap(descriptor, size_bytes)
            self._child: PacketChild = warm.fork_for_packets(descriptor)
        finally:
            os.close(descriptor)
        if niceness > 0:
            with suppress(OSError):  # it may have ended
                os.setpriority(os.PRIO_PROCESS, self._child.number, niceness)
        memory = wire.memory_bytes(room.pixels, room.size_bytes)
        try:
            self._child.packets.send({wire.MEMORY: memory, wire.BYTES: size_bytes})
        except ChannelClosed:
            self.end()
            raise

    def ask(
        self, files: Sequence[bytes], asked: Header, *, within_s: float, most_pixels: int = 0
    ) -> list[Header]:
        """The answers to what is `asked` of the first files. Raises ChannelClosed, MessageInvalid or MessageLate.

        A file of many pixels, `most_pixels` at most, may take longer.
        """
        packets = self._child.packets
        content = files[0] if len(files) == 1 else b"".join(files)
        self.files += len(files)
        self.filled_bytes = max(self.filled_bytes, len(content))
        self.buffer[: len(content)] = content
        packets.send({**asked, wire.BYTES: [len(file) for file in files]}, within_s=within_s)
        message = packets.receive(within_s=within_s)
        if (pixels := message.get(wire.BEGINS)) is not None:
            if not isinstance(pixels, int) or not 0 < pixels <= most_pixels:
                raise MessageInvalid
            message = packets.receive(within_s=within_s + S_PER_PIXEL * pixels)
        answers = message.get(wire.ANSWERS)
        if (
            not isinstance(answers, list)
            or len(answers) > len(files)
            or not all(isinstance(each, dict) for each in answers)
        ):
            raise MessageInvalid
        return answers

    @property
    def cpu_s(self) -> float:
        """How much CPU it has taken, as the system counts it; 0 once it has ended."""
        try:
            return time.clock_gettime((~self._child.number << 3) | CPU_CLOCK)
        except OSError:
            return 0.0

    def samples(self, size_bytes: int) -> memoryview:
        """What the child has left in the shared memory, and may change. Release it before the next files."""
        self.filled_bytes = max(self.filled_bytes, size_bytes)
        with memoryview(self.buffer) as whole:
            return whole[:size_bytes]

    def end(self) -> None:
        """End it."""
        self._child.end()
        self.buffer.close()

    def lost(self, *, late: bool = False) -> ChildEnded:
        """End it, after it broke off, or was `late`: why."""
        self.buffer.close()
        return self._child.lost(late=late)

    @property
    def is_worn(self) -> bool:
        """Whether it is not to read further files."""
        return self.owner is None or self.files >= FILES or self.filled_bytes > FILLED_BYTES


class ImageChildren:
    """Gives out children and keeps them. Thread-safe."""

    def __init__(self, module: str = "service.images.child") -> None:
        self.warm = WarmParsers(module)
        self._lock = threading.Lock()
        self._kept: list[ImageChild] = []  # the one used last is the last
        self._timer: threading.Timer | None = None

    def take(self, owner: Hashable, room: Room, *, fresh: bool = False) -> ImageChild:
        """A child for files of `owner` alone, of the niceness of this thread. Raises ChannelClosed if none can be had.

        It is `fresh` for an owner of None, who may be anybody. Give it back, or end it.
        """
        niceness = os.getpriority(os.PRIO_PROCESS, 0)  # on Linux, of the thread
        with self._lock:
            for child in reversed(() if fresh or owner is None else self._kept):
                if child.owner == owner and child.niceness == niceness and child.room.holds(room):
                    self._kept.remove(child)
                    return child
        room = Room(max(room.pixels, USUAL.pixels), max(room.size_bytes, USUAL.size_bytes))
        return ImageChild(self.warm, owner, room, niceness)

    def give_back(self, child: ImageChild) -> None:
        """Keep a child for the next file of its owner, unless it is worn. The one that was idle longest makes room."""
        child.used_at = time.monotonic()
        if child.is_worn:
            child.end()
            return
        with self._lock:
            self._kept.append(child)
            gone = self._kept[:-KEPT]
            del self._kept[:-KEPT]
            self._watch()
        for each in gone:
            each.end()

    def end_kept(self) -> None:
        """End those that are kept."""
        with self._lock:
            gone, self._kept = self._kept, []
        for each in gone:
            each.end()

    def close(self) -> None:
        """End those that are kept, and the warm process."""
        self.end_kept()
        self.warm.close()

    def _watch(self) -> None:
        """Have idle children ended in a while."""
        if self._kept and self._timer is None:
            self._timer = threading.Timer(KEPT_S, self._end_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_idle(self) -> None:
        before = time.monotonic() - KEPT_S
        with self._lock:
            gone = [each for each in self._kept if each.used_at <= before]
            self._kept = [each for each in self._kept if each.used_at > before]
            self._timer = None
            self._watch()
        for each in gone:
            each.end()
