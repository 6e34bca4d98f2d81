"""A small TCP proxy that can be slow, deaf, rude or forgetful: latency, black holes, resets, dropped replies."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

CHUNK_BYTES = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST
DEAF_LOOK_S = 0.02


class Proxy:
    """Forwards connections to one address until told to misbehave. Faults hold for all its connections."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._deaf = threading.Event()
        self._closing = False
        self.latency_s = 0.0
        self._to_drop = 0
        self._drop_from_bytes = 0
        self.dropped = 0
        threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Stop, and end every connection."""
        self._closing = True
        self._deaf.clear()
        self._server.close()
        self.reset_all()

    def reset_all(self) -> None:
        """Reset every connection that is open."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._reset(pair)

    @contextlib.contextmanager
    def black_hole(self) -> Iterator[None]:
        """Connections stay open and new ones are taken, but no byte passes either way."""
        self._deaf.set()
        try:
            yield
        finally:
            self._deaf.clear()

    def drop_replies(self, count: int, *, to_requests_from_bytes: int) -> None:
        """Forward the next `count` requests of at least this size, swallow their replies, reset the connection."""
        with self._lock:
            self._to_drop += count
            self._drop_from_bytes = to_requests_from_bytes

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            self._reset((near, near))
            return
        far.settimeout(None)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        forgetful = threading.Event()
        threading.Thread(target=self._pump, args=(pair, far, near, forgetful, False), daemon=True).start()
        self._pump(pair, near, far, forgetful, True)

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        forgetful: threading.Event,
        requests: bool,
    ) -> None:
        """Carry bytes one way. `forgetful` is set once the replies of this connection are to be swallowed."""
        try:
            while part := source.recv(CHUNK_BYTES):
                self._hold_back()
                if requests and self._drops(part):
                    forgetful.set()
                if not requests and forgetful.is_set():
                    self.dropped += 1
                    break
                sink.sendall(part)
        except OSError:
            pass
        self._reset(pair)

    def _hold_back(self) -> None:
        if self.latency_s:
            time.sleep(self.latency_s)
        while self._deaf.is_set() and not self._closing:
            time.sleep(DEAF_LOOK_S)

    def _drops(self, part: bytes) -> bool:
        with self._lock:
            if self._to_drop and len(part) >= self._drop_from_bytes:
                self._to_drop -= 1
                return True
        return False

    def _reset(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
