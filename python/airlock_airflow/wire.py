"""One HTTP/1.1 exchange over a Unix socket.

Written by hand because a lookup is on the path of every task: ``http.client`` costs three times as much for an exchange
as the agent does. It speaks only what the agent speaks: one GET at a time, an answer with Content-Length.
"""

from __future__ import annotations

import errno
import socket
import struct
import time

from airlock_airflow.errors import AirlockError

# The largest answer that is read: a secret holds 25 KB at most, so anything near this is not an agent's answer.
MAX_BODY = 1 << 20
MAX_HEAD = 1 << 14

_CHUNK = 1 << 16
_BUSY_PAUSE = 0.005  # seconds between two tries to connect while the agent's queue is full
_LIMIT_SLACK = 0.05  # seconds that a single read may outlast the deadline


class Absent(Exception):
    """Nobody listens at the path."""


class Lost(Exception):
    """The other end went away before it had answered; asking again is harmless."""


class Unread(Lost):
    """It went away before it had even read the request, as a dying process does with whoever still connects to it."""


class Connection:
    """A connection to the agent at a path, for one process and one thread at a time.

    ``reusable`` is true only after a whole answer. Otherwise part of one may still be under way, and would be taken for
    the answer to the next question.
    """

    def __init__(self, path: str, deadline: float) -> None:
        """Connects. Raises Absent when nobody listens, AirlockError for every other reason."""
        self._path = path
        self._deadline = deadline
        self.reusable = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._limit = 0.0
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        while True:
            self._allow_remaining_time()
            try:
                # Not blocking, because a full queue and a time that ran out are otherwise one and the same error.
                self._socket.setblocking(False)
                try:
                    self._socket.connect(self._path)
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
                    f"this user may not open the agent's socket {self._path}",
                    ["run the agent as the same user as Airflow, or correct agent_socket"],
                ) from None
            except OSError as err:
                raise AirlockError(
                    "unavailable", f"cannot connect to the agent's socket {self._path}: {_reason(err)}"
                ) from None

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
            raise AirlockError("unavailable", f"cannot talk to the agent at {self._path}: {_reason(err)}") from None

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
            f"the agent at {self._path} did not answer in time",
            ["see what it waits for with: airlock status", "allow more seconds with AIRLOCK_TIMEOUT"],
        )

    def _not_an_agent(self, why: str) -> AirlockError:
        return not_an_agent(self._path, why)

    def close(self) -> None:
        """Closes this process's end only; a connection that a child process inherited stays usable in the parent."""
        self._socket.close()

    def __del__(self) -> None:
        # A thread that ends drops its connection here. The attribute is missing when the constructor failed early.
        opened = getattr(self, "_socket", None)
        if opened is not None:
            opened.close()


def not_an_agent(path: str, why: str) -> AirlockError:
    """The error for a peer that answers in another language; why says what was odd, not what was sent."""
    return AirlockError(
        "internal",
        f"what answers at {path} is not an Airlock agent of this version: {why}",
        ["correct agent_socket, or update the agent and this package together"],
    )


def _reason(err: OSError) -> str:
    return errno.errorcode.get(err.errno or 0, type(err).__name__)
