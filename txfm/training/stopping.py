"""Ending a training in good order when the system asks for it: Slurm before it takes a node away, or Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Whether a signal asked this process to stop; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def receive(self, number: int, _: FrameType | None) -> None:
        """Note the signal; a handler for `signal.signal`."""
        self.signal_name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    def __bool__(self) -> bool:
        return self.signal_name is not None


@contextmanager
def listen_for_stop() -> Iterator[StopRequest]:
    """Listen for `STOP_SIGNALS` until the end of the block, in the main thread; elsewhere no signal can be received."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, request.receive) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
