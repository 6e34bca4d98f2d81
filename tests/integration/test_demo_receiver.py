"""The demo's receiver of webhooks, over a real connection."""

import httpx
import pytest

from service.cli.demo.errors import DemoFailed
from service.cli.demo.receiver import Receiver


def test_the_demos_receiver_takes_what_is_posted_to_it_and_nothing_else() -> None:
    with Receiver() as receiver:
        sent = httpx.post(receiver.url, content=b"{}", headers={"webhook-id": "m-1"}, trust_env=False)
        assert sent.status_code == 204
        taken = receiver.next(5)
        assert (taken.headers["webhook-id"], taken.body) == ("m-1", b"{}")
        assert httpx.get(receiver.url, trust_env=False).status_code == 501
        with pytest.raises(DemoFailed, match="No webhook came"):
            receiver.next(0.01)
