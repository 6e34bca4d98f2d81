"""Celery's consumer, made to survive any answer of Redis, and the signal that the process may start to work.

The process works from its first attempt to connect to Redis, not from the first connection: sweeps, webhooks, batches and
polling Postgres need no message.
"""

import logging
import time
from collections.abc import Callable

from celery.worker.consumer import Consumer
from celery.worker.consumer.consumer import CONNECTION_RETRY, logger

PAUSE_S = 1.0  # Celery reconnects at once, and Redis may refuse again at once

# Logged at every try, once a second. What is wrong with Redis is logged when it changes: `pulse_not_sent`, `redis_away`.
SAID_AGAIN = ("consumer: Cannot connect to", CONNECTION_RETRY)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(SAID_AGAIN)


logger.addFilter(_is_news)


class PersistentConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """The consumer of a process. `begins` is called once, before it connects; `fails` for each error that ends a connection."""

    begins: Callable[[], None]
    fails: Callable[[Exception], None]

    def start(self) -> None:
        """See Celery."""
        type(self).begins()
        super().start()

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """See Celery."""
        type(self).fails(exc)
        super().on_connection_error_before_connected(exc)
        time.sleep(PAUSE_S)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """See Celery."""
        type(self).fails(exc)
        super().on_connection_error_after_connected(exc)
        time.sleep(PAUSE_S)


def consumer_class(
    *, begins: Callable[[], None], fails: Callable[[Exception], None]
) -> type[PersistentConsumer]:
    """The class for Celery's `worker_consumer`, which makes the consumer itself."""
    return type(
        "ProcessConsumer",
        (PersistentConsumer,),
        {"begins": staticmethod(begins), "fails": staticmethod(fails)},
    )
