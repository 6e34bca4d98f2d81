"""Connections that hold up the process that accepted them, as the kernel tells of them."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from service import slow_peers
from service.slow_peers import SLOW_S, Reason, SlowPeers, connections


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_real_connections(listener: socket.socket) -> None:
    """One reads nothing of a large answer, one has sent half a body, one is answered, one is a listener of another port."""
    port = listener.getsockname()[1]
    with ExitStack() as stack:
        clients, served = [], []
        for _ in range(3):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            served.append(stack.enter_context(closing(listener.accept()[0])))
            clients[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
            served[-1].recv(100)
        unread, unsent, answered = (client.getsockname() for client in clients)
        served[0].setblocking(False)
        while True:
            try:
                served[0].send(bytes(2**20))
            except BlockingIOError:
                break
        served[2].sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        clients[2].recv(100)
        stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        began = time.monotonic()
        peers = SlowPeers(port, bodies_since=lambda _: [began])
        links = [each for each, _ in connections(port)]
        assert {each.peer: (each.unread, each.asks) for each in links if each.peer != answered} == {
            unread: (True, False),
            unsent: (False, True),
        }
        assert not peers.overdue(links, began)
        assert peers.overdue([each for each, _ in connections(port)], began + SLOW_S) == {
            unread: Reason.UNREAD,
            unsent: Reason.UNSENT,
        }


def test_an_overdue_connection_is_ended_for_both(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_peers, "ADDRESS_SHARE", 0)
    port = listener.getsockname()[1]
    with (
        socket.create_connection(("127.0.0.1", port)) as client,
        closing(listener.accept()[0]) as served,
    ):
        SlowPeers(port, bodies_since=lambda _: []).look()
        served.settimeout(5)
        client.settimeout(5)
        assert (served.recv(1), client.recv(1)) == (b"", b"")


def test_looking_leaves_no_files_open(listener: socket.socket) -> None:
    before = len(list(slow_peers.OPEN_FILES.iterdir()))
    for _ in range(20):
        list(connections(listener.getsockname()[1]))
    assert len(list(slow_peers.OPEN_FILES.iterdir())) == before
