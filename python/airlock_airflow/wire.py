"""One HTTP/1.1 exchange over a Unix socket, or over loopback.

Written by hand because a lookup is on the path of every task: ``http.client`` costs three times as much for an exchange
as the agent does. It speaks only what the agent speaks: one GET at a time, an answer with Content-Length.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import Any, NamedTuple, Union

from airlock_airflow.errors import AirlockError

# The largest answer that is read: a secret holds 25 KB at most, so anything near this is not an agent's answer.
MAX_BODY = 1 << 20
MAX_HEAD = 1 << 14

_CHUNK = 1 << 16
_BUSY_PAUSE = 0.005  # seconds between two tries to connect while the agent's queue is full
_LIMIT_SLACK = 0.05  # seconds that a single read may outlast the deadline


class Tcp(NamedTuple):
    """An agent's address on this machine's loopback."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


# Where an agent answers; text is the path of its Unix socket.
Address = Union[str, Tcp]


class Absent(Exception):
    """Nobody listens at the address."""


class Lost(Exception):
    """The other end went away before it had answered; asking again is harmless."""


class Unread(Lost):
    """It went away before it had even read the request, as a dying process does with whoever still connects to it."""


class Connection:
    """A connection to the agent at an address, for one process and one thread at a time.

    ``reusable`` is true only after a whole answer. Otherwise part of one may still be under way, and would be taken for
    the answer to the next question.
    """

    def __init__(self, address: Address, deadline: float) -> None:
        """Connects. Raises Absent when nobody listens, AirlockError for every other reason."""
        self._address = address
        self._deadline = deadline
        self.reusable = False
        self._limit = 0.0
        family, where = (socket.AF_UNIX, address) if isinstance(address, str) else _on_loopback(address)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        connect = self._connect if family == socket.AF_UNIX else self._connect_tcp
        try:
            connect(where)
        except BaseException:
            self.close()
            raise

    def _connect(self, path: Any) -> None:
        while True:
            self._allow_remaining_time()
            try:
                # Not blocking, because a full queue and a time that ran out are otherwise one and the same error.
                self._socket.setblocking(False)
                try:
                    self._socket.connect(path)
                finally:
                    self._socket.setblocking(True)
                return
            except BlockingIOError:
                time.sleep(_BUSY_PAUSE)  # the queue of a Unix socket that is full makes nobody wait
            except (FileNotFoundError, ConnectionRefusedError):
                raise Absent from None
            except PermissionError:
                raise AirlockError(
                    "forbidden",
                    f"this user may not open the agent's socket {path}",
                    ["run the agent as the same user as Airflow, share it by listen.group, or correct agent_socket"],
                ) from None
            except OSError as err:
                raise AirlockError(
                    "unavailable", f"cannot connect to the agent's socket {path}: {_reason(err)}"
                ) from None

    def _connect_tcp(self, where: Any) -> None:
        self._allow_remaining_time()
        try:
            self._socket.connect(where)  # loopback: it is taken or refused at once
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except ConnectionRefusedError:
            raise Absent from None
        except BlockingIOError:
            raise self._too_slow() from None
        except OSError as err:
            raise AirlockError("unavailable", f"cannot connect to the agent at {self._address}: {_reason(err)}") from None

    def exchange(self, request: bytes, deadline: float) -> tuple[int, bytes]:
        """Sends the request and returns the answer's status and body.

        ``deadline`` is a time of ``time.monotonic``. Raises Lost when the other end hung up, AirlockError when it was
        too slow or answered in another language.
        """
        self._deadline = deadline
        self.reusable = False
        try:
            self._allow_remaining_time()
            self._socket.sendall(request)
            return self._read_answer()
        except BlockingIOError:
            raise self._too_slow() from None  # what the kernel says when the time set on the socket ran out
        except (ConnectionResetError, BrokenPipeError, ConnectionAbortedError):
            raise Unread from None
        except OSError as err:
            raise AirlockError("unavailable", f"cannot talk to the agent at {self._address}: {_reason(err)}") from None

    def _read_answer(self) -> tuple[int, bytes]:
        received = self._receive()
        while b"\r\n\r\n" not in received:
            if len(received) > MAX_HEAD:
                raise self._not_an_agent("its header is too long")
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        status, length, keep = self._parse_head(head)
        parts, have = [body], len(body)
        while have < length:
            parts.append(self._receive())
            have += len(parts[-1])
        if have > length:
            raise self._not_an_agent("it sent more than it announced")
        self.reusable = keep
        return status, b"".join(parts)

    def _parse_head(self, head: bytes) -> tuple[int, int, bool]:
        first, *fields = head.split(b"\r\n")
        words = first.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
            raise self._not_an_agent("it does not speak HTTP")
        length, keep = None, words[0] == b"HTTP/1.1"
        for field in fields:
            name, _, value = field.partition(b":")
            name, value = name.lower(), value.strip()
            if name == b"content-length":
                if length is not None or not value.isdigit() or len(value) > 18:
                    raise self._not_an_agent("its Content-Length is not a number")
                length = int(value)
            elif name == b"connection" and value.lower() == b"close":
                keep = False
        if length is None:
            raise self._not_an_agent("it does not announce the length of its answer")
        if length > MAX_BODY:
            raise self._not_an_agent(f"its answer of {length} bytes is larger than {MAX_BODY}")
        return int(words[1]), length, keep

    def _receive(self) -> bytes:
        self._allow_remaining_time()
        received = self._socket.recv(_CHUNK)
        if not received:
            raise Lost
        return received

    def _allow_remaining_time(self) -> None:
        """Bounds the next call on the socket by the deadline.

        By the kernel's own limits and not by settimeout: that makes Python poll before each call, and a poll wakes up
        later than a plain read (measured: a whole exchange takes three times as long).
        """
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise self._too_slow()
        if remaining <= self._limit <= remaining + _LIMIT_SLACK:
            return  # near enough, and a system call less
        self._limit = remaining + _LIMIT_SLACK / 2
        seconds = int(self._limit)
        timeval = struct.pack("@ll", seconds, int((self._limit - seconds) * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def _too_slow(self) -> AirlockError:
        return AirlockError(
            "unavailable",
            f"the agent at {self._address} did not answer in time",
            ["see what it waits for with: airlock status", "allow more seconds with AIRLOCK_TIMEOUT"],
        )

    def _not_an_agent(self, why: str) -> AirlockError:
        return not_an_agent(self._address, why)

    def close(self) -> None:
        """Closes this process's end only; a connection that a child process inherited stays usable in the parent."""
        self._socket.close()

    def __del__(self) -> None:
        # A thread that ends drops its connection here. The attribute is missing when the constructor failed early.
        opened = getattr(self, "_socket", None)
        if opened is not None:
            opened.close()


def _on_loopback(address: Tcp) -> tuple[int, Any]:
    """The family and the numeric form of an address. Raises AirlockError unless it is on this machine's loopback.

    What is said there is not encrypted: a token and secrets must not leave the machine, wherever a name leads.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        raise AirlockError("usage", f"the host of the agent's URL {address} is unknown", ["correct agent_url"]) from None
    found.sort(key=lambda each: each[0] != socket.AF_INET)  # what agents listen on, as a rule
    for family, _, _, _, where in found:
        numeric = str(where[0])
        if not (numeric == "::1" or family == socket.AF_INET and numeric.startswith("127.")):
            raise AirlockError(
                "usage",
                f"the agent's URL {address} leads to {numeric}, which is not on this machine's loopback",
                ["an agent answers on its own machine only; run one there, and correct agent_url"],
            )
    return found[0][0], found[0][4]


def not_an_agent(address: Address, why: str) -> AirlockError:
    """The error for a peer that answers in another language; why says what was odd, not what was sent."""
    return AirlockError(
        "internal",
        f"what answers at {address} is not an Airlock agent of this version: {why}",
        ["correct agent_socket or agent_url, or update the agent and this package together"],
    )


def _reason(err: OSError) -> str:
    return errno.errorcode.get(err.errno or 0, type(err).__name__)
