"""TLS in front of a server that speaks none: what a proxy such as stunnel does."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def tls_front(context: ssl.SSLContext, target: tuple[str, int]) -> Iterator[int]:
    """Take encrypted connections on a port of 127.0.0.1 and hand them on; the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, context, target), daemon=True).start()
        yield int(server.getsockname()[1])


def _accept(server: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    while True:
        try:
            plain, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(plain, context, target), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    """One connection: reads and writes of a TLS socket must not meet in two threads, so one thread does both."""
    with contextlib.suppress(OSError), plain:
        near, far = context.wrap_socket(plain, server_side=True), socket.create_connection(target)
        near.settimeout(0.005)
        far.settimeout(0.005)
        while True:
            for source, sink in ((near, far), (far, near)):
                try:
                    part = source.recv(65536)
                except TimeoutError:
                    continue
                if not part:
                    near.close()
                    far.close()
                    return
                sink.sendall(part)  # a timeout here ends the connection: part of the bytes are gone
