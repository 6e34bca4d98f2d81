"""What can be wrong with Redis, by what it answers, and what an operator does about each.

The first word of an error reply is its code in Redis' protocol. Redis 6 puts the reply of a command that a script ran
behind the script's place: `Error running script ...: -OOM command not allowed`.
"""

import re
import ssl
from enum import StrEnum

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.sentinel import MasterNotFoundError


class RedisFault(StrEnum):
    """Why Redis takes no wake-ups."""

    UNREACHABLE = "unreachable"
    TLS_FAILED = "tls_failed"
    LOGIN_REFUSED = "login_refused"
    FORBIDDEN = "forbidden"
    READ_ONLY = "read_only"
    OUT_OF_MEMORY = "out_of_memory"
    CANNOT_PERSIST = "cannot_persist"
    LACKS_REPLICAS = "lacks_replicas"
    LOADING = "loading"
    BUSY = "busy"
    TOO_MANY_CLIENTS = "too_many_clients"
    OCCUPIED = "occupied"
    CLUSTER = "cluster"
    MASTER_UNKNOWN = "master_unknown"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ADVICE[self]


ADVICE = {
    RedisFault.UNREACHABLE: "Start the server, or check host and port in MEDQUEUE_REDIS_URL, the network, "
    "and whether it speaks TLS (rediss://).",
    RedisFault.TLS_FAILED: "Check that the server speaks TLS at this port and that its certificate is valid for this host; "
    "name your authority's certificate with rediss://...?ssl_ca_certs=FILE.",
    RedisFault.LOGIN_REFUSED: "Check user and password in MEDQUEUE_REDIS_URL, and that the user is on (ACL LIST). "
    "A Redis without a password accepts no connections from other hosts (protected mode).",
    RedisFault.FORBIDDEN: "Grant the user the commands, keys and channels that docs/operations.md lists (ACL SETUSER). "
    "A command that is not known was renamed, or the server is older than 6.2.",
    RedisFault.READ_ONLY: "It is a replica. Point MEDQUEUE_REDIS_URL at the master, or at the Sentinels with sentinel://; "
    "REPLICAOF NO ONE makes this one a master.",
    RedisFault.OUT_OF_MEMORY: "Raise maxmemory, or find what else fills this Redis; medqueue needs a few MB. "
    "Keep maxmemory-policy noeviction.",
    RedisFault.CANNOT_PERSIST: "Its last snapshot could not be written: make room on its disk, or switch snapshots off "
    "(CONFIG SET save ''). medqueue keeps nothing in Redis.",
    RedisFault.LACKS_REPLICAS: "Start its replicas, or CONFIG SET min-replicas-to-write 0.",
    RedisFault.LOADING: "It is reading its file. Wait.",
    RedisFault.BUSY: "A script runs for long. SCRIPT KILL ends it.",
    RedisFault.TOO_MANY_CLIENTS: "Raise maxclients, or end clients that leak (CLIENT LIST). Each process of medqueue has "
    "about five connections.",
    RedisFault.OCCUPIED: "A key of ours (score, maintenance, pulse.*) holds something else: another program uses this "
    "database. "
    "Give medqueue a database of its own, such as /1.",
    RedisFault.CLUSTER: "It is a node of a cluster, which is not supported. Name one Redis that is none, or Sentinels.",
    RedisFault.MASTER_UNKNOWN: "The Sentinels know no master of this name, or none that is up. Check service_name in "
    "MEDQUEUE_REDIS_URL, and SENTINEL MASTERS.",
    RedisFault.REFUSED: "Redis refuses a command. The log says which error it gave.",
    RedisFault.MISCONFIGURED: "Correct MEDQUEUE_REDIS_URL.",
}

# Codes of error replies, for those that come as a plain ResponseError.
CODES = {
    "READONLY": RedisFault.READ_ONLY,
    "MASTERDOWN": RedisFault.READ_ONLY,
    "UNBLOCKED": RedisFault.READ_ONLY,  # the answer to a pending BRPOP when it becomes a replica
    "OOM": RedisFault.OUT_OF_MEMORY,
    "MISCONF": RedisFault.CANNOT_PERSIST,
    "NOREPLICAS": RedisFault.LACKS_REPLICAS,
    "LOADING": RedisFault.LOADING,
    "BUSY": RedisFault.BUSY,
    "UNKILLABLE": RedisFault.BUSY,
    "NOPERM": RedisFault.FORBIDDEN,
    "WRONGTYPE": RedisFault.OCCUPIED,
    "DENIED": RedisFault.LOGIN_REFUSED,
    "NOAUTH": RedisFault.LOGIN_REFUSED,
    "WRONGPASS": RedisFault.LOGIN_REFUSED,
    "MOVED": RedisFault.CLUSTER,
    "ASK": RedisFault.CLUSTER,
    "CROSSSLOT": RedisFault.CLUSTER,
    "CLUSTERDOWN": RedisFault.CLUSTER,
    "TRYAGAIN": RedisFault.CLUSTER,
}
IN_SCRIPT = re.compile(r"-([A-Z]+) ")
# Replies whose code is ERR, or none.
TEXTS = {
    "can't run this command": RedisFault.FORBIDDEN,  # Redis 6: a command in a script that the user may not run
    "unknown command": RedisFault.FORBIDDEN,
    "unknown redis command": RedisFault.FORBIDDEN,
    "max number of clients": RedisFault.TOO_MANY_CLIENTS,
    "not allowed in cluster mode": RedisFault.CLUSTER,
    "db index is out of range": RedisFault.MISCONFIGURED,
    "wrong kind of value": RedisFault.OCCUPIED,  # Redis 6: of a command in a script
}

# The driver strips the code of a reply that it has a class for.
TYPES: tuple[tuple[tuple[type[BaseException], ...], RedisFault], ...] = (
    ((MasterNotFoundError,), RedisFault.MASTER_UNKNOWN),
    ((NoPermissionError,), RedisFault.FORBIDDEN),
    ((AuthenticationError, AuthorizationError), RedisFault.LOGIN_REFUSED),
    ((ReadOnlyError, MasterDownError), RedisFault.READ_ONLY),
    ((OutOfMemoryError,), RedisFault.OUT_OF_MEMORY),
    ((BusyLoadingError,), RedisFault.LOADING),
    ((MovedError, AskError, ClusterCrossSlotError, ClusterDownError, TryAgainError), RedisFault.CLUSTER),
    ((ssl.SSLError,), RedisFault.TLS_FAILED),
)


def fault_of(error: BaseException) -> RedisFault:
    """Which fault an error of a client means."""
    chain = _chain(error)
    for link in chain:
        for types, fault in TYPES:
            if isinstance(link, types):
                return fault
    texts = " ".join(map(str, chain)).lower()
    for text, fault in TEXTS.items():
        if text in texts:
            return fault
    for link in chain:
        if isinstance(link, ResponseError):
            return _of_reply(str(link))
    return RedisFault.MISCONFIGURED if isinstance(error, ValueError) else RedisFault.UNREACHABLE


def _of_reply(text: str) -> RedisFault:
    codes = [text.partition(" ")[0], *IN_SCRIPT.findall(text)]
    return next((CODES[code] for code in codes if code in CODES), RedisFault.REFUSED)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from: the driver wraps errors of TLS and of sockets."""
    found = [error]
    while (cause := found[-1].__cause__ or found[-1].__context__) is not None and cause not in found:
        found.append(cause)
    return found
