"""One standard output for several processes: the one that started them holds it, and they hand it their lines.

    Press       in the process that has the descriptor: takes batches of whole lines, one at a time, and acknowledges each once it is out
    PressSink   in each of the others: a Sink. Durable: the kernel has taken it from the Press

So no lock is held across processes: one that is stopped or killed in the middle of a batch keeps nobody waiting, and nothing of that
batch was written. A channel carries bytes, in messages that keep their bounds (a multiprocessing Connection): there a batch, back nothing
(it is out) or the number of the error. Nothing else of a worker is read, and nothing is unpickled.

Called by app (workers.py, auditing.py). What may never enter: waiting for one channel while another one has a batch.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import Final, Protocol

from keystead.audit.sinks import LineEnd, StdoutSink

_DONE: Final = b""


class Channel(Protocol):
    """One end of a pipe between two processes."""

    def send_bytes(self, buf: bytes, /) -> None:
        """One message. May block. OSError."""

    def recv_bytes(self) -> bytes:
        """One message. Blocks. EOFError where the other end is gone, OSError."""

    def close(self) -> None:
        """The other end sees its end."""


class Press:
    """`descriptor` is written to by nobody else's lines. One thread a channel: daemons, for a reader that stops must keep no process."""

    def __init__(self, descriptor: int = 1) -> None:
        self._out = descriptor
        self._turn = threading.Lock()
        self._end = LineEnd()

    def attend(self, channel: Channel) -> None:
        """Take what comes through it, until its other end is gone. Only one process may have that."""
        threading.Thread(target=self._attend, args=(channel,), name="audit-press", daemon=True).start()

    def _attend(self, channel: Channel) -> None:
        sink = StdoutSink(self._out, self._end)
        try:
            while True:
                data = channel.recv_bytes()
                channel.send_bytes(self._print(sink, data))
        except (EOFError, OSError):  # the process is gone, and what of its last batch came is no batch
            channel.close()

    def _print(self, sink: StdoutSink, data: bytes) -> bytes:
        try:
            with self._turn:
                sink.write(data)
        except OSError as error:
            return str(error.errno or errno.EIO).encode()
        return _DONE


class PressSink:
    """Implements ports.Sink. `channel`: to a Press."""

    name = "stdout"

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def write(self, data: bytes) -> None:
        """Returns once the Press has written all of it. OSError: as it was there, or that it is gone."""
        self._channel.send_bytes(data)
        try:
            answer = self._channel.recv_bytes()
        except EOFError:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
        if answer != _DONE:
            raise OSError(int(answer), os.strerror(int(answer)))

    def close(self) -> None:
        """The Press needs this process no more."""
        self._channel.close()
