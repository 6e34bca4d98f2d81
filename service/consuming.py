"""Celery's side of Redis: the app with the settings that matter, and a transport over the clients that all of us use.

kombu reads addresses in its own way (other defaults of TLS, another form for Sentinels) and takes an error reply, such as
that of a replica, for the end of its process. Both are put right here.
"""

from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.transport import redis as kombu_redis
from redis import ConnectionPool
from redis.exceptions import RedisError

from service.broker import ROUTES, queue_of
from service.queue import QueueName, pulse_wake_up
from service.redis_address import RedisAddress
from service.redis_client import ConnectionClass, connection_pool

BROKER = "redis://"  # says which transport; where to connect is the transport option `address`


def celery_app(redis_url: str) -> Celery:
    """A Celery app with the settings that matter; docs/decisions/0001 and DESIGN say why each is so.

    Raises ValueError when the address cannot be read.
    """
    app = Celery("medqueue", broker=BROKER, set_as_current=False, amqp=PromptAMQP)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_routes={task.value: {"queue": queue.value} for task, queue in ROUTES.items()},
        # The nameless exchange goes straight to the queue; a named one is looked up in Redis for every message.
        task_queues=[_queue(name.value, no_ack=name is QueueName.SCORE) for name in QueueName],
        task_default_queue=QueueName.MAINTENANCE.value,
        task_acks_late=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        # Only of tasks that are acknowledged late, and we have none; without it Celery warns at each loss of a connection.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_pool_acquire_timeout=2,
        broker_transport_options={
            "address": RedisAddress.parse(redis_url),
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 5,
            "visibility_timeout": 60,
            "brpop_timeout": 1,
        },
        timezone="UTC",
        enable_utc=True,
    )
    return app


class Channel(kombu_redis.Channel):
    """kombu's channel over connections made from our own reading of the address."""

    address: RedisAddress
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "address")  # type: ignore[assignment]

    def _get_pool(self, asynchronous: bool = False) -> ConnectionPool:
        """See kombu, which calls it for the pool of the event loop's connections, too."""
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=self.address.db)
        pool = connection_pool(
            self.address,
            derive=self._noting_disconnects if asynchronous else lambda connection: connection,
            socket_timeout=self.socket_timeout,
            socket_connect_timeout=self.socket_connect_timeout,
            socket_keepalive=self.socket_keepalive,
            health_check_interval=self.health_check_interval,
            max_connections=self.max_connections,
        )
        manager = getattr(getattr(pool, "proxy", None), "sentinel_manager", None)
        setattr(
            self, "_async_sentinel_manager" if asynchronous else "_sentinel_manager", manager
        )  # kombu closes them
        return pool

    def _noting_disconnects(self, connection_class: ConnectionClass) -> ConnectionClass:
        """Report a closed connection to the event loop, as kombu's own pool does."""
        channel = self

        class Noted(connection_class):  # type: ignore[valid-type, misc]  # a class made for one channel
            def disconnect(self, *args: Any, **kwargs: Any) -> None:
                super().disconnect(*args, **kwargs)
                if channel._registered:
                    channel._on_connection_disconnect(self)  # type: ignore[no-untyped-call]

        return Noted


class Transport(kombu_redis.Transport):
    """kombu's transport, changed so that every error of Redis leads to a reconnection and none ends the consumer.

    A replica, a full memory or a missing right is answered with an error reply, which kombu knows as a fault of the
    program: it makes a worker exit, and no worker starts while it lasts.
    """

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, RedisError)


class PromptConnection(Connection):
    """A broker connection that retries an unavailable Redis every second; kombu's own waits up to half a minute."""

    def get_transport_cls(self) -> type[Transport]:
        """See kombu."""
        return Transport

    def as_uri(self, *_: Any, **__: Any) -> str:
        """The address for logs, without secrets."""
        return str((self.transport_options or {}).get("address"))

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Connection:
        """See kombu."""
        intervals = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
        return super().ensure_connection(*args, **(intervals | kwargs))  # type: ignore[no-untyped-call, no-any-return]


class PromptAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Celery's message factory over such connections."""

    Connection = PromptConnection


def _queue(name: str, *, no_ack: bool) -> Queue:
    # A message may be lost, so taking one need not be written down: that would be two round trips before each claim.
    # The scheduler's threads take one message each all the same.
    return Queue(name, Exchange(""), routing_key=name, no_ack=no_ack)  # type: ignore[no-untyped-call]


def listen_to_pulse(app: Celery, process: str) -> None:
    """Let this worker also consume the queue of its own pulse, whatever its command line selects."""
    app.amqp.queues.select_add(_queue(queue_of(pulse_wake_up(process)), no_ack=True))
