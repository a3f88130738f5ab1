"""Ctrl-C, SIGTERM and SIGHUP end a run after its step, so that it can be resumed; a second one ends it at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""SIGHUP comes where the terminal is gone, as when ssh drops; under nohup it is ignored, and stays so."""


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A signal stopped the run.

    Args:
        number: Of the signal.
        step: The last step that was done, from 1.
        saved: Whether the state after that step was saved.
    """

    def __init__(self, number: int, step: int, *, saved: bool = True) -> None:
        unsaved = "" if saved else ", which could not be saved: what was saved before is still there"
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}{unsaved}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """With which the process ends, as a shell counts: 128 + the signal's number."""
        return 128 + self.number


class Ended(KeyboardInterrupt):
    """A signal asks a door to end that has nothing to save.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def raised() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise `Ended` as Ctrl-C raises KeyboardInterrupt, so that what is open is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    printing = terminals()

    def on_signal(number: int, frame: Any) -> None:
        hung_up(number, printing)
        raise Ended(number)

    with handled(listened_to()[1:], on_signal):  # Ctrl-C raises by itself
        yield


@contextmanager
def handled(numbers: Iterable[int], on_signal: Callable[[int, Any], object]) -> Iterator[dict[int, Any]]:
    """Within, these signals call ``on_signal``; it yields the handlers that they had, and have again afterwards."""
    before: dict[int, Any] = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield before
    finally:
        restore(before)


def restore(before: dict[int, Any]) -> None:
    """Give signals the handlers that they had, but for one that is ignored since the terminal is gone."""
    for number, handler in before.items():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def listened_to() -> list[signal.Signals]:
    """The signals that ask to stop, but for SIGHUP where that is ignored."""
    return [number for number in SIGNALS if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]


def terminals() -> list[int]:
    """The descriptors to which this process prints on a terminal. Once the terminal is gone, nobody could tell."""
    return [descriptor for descriptor in range(1, 256) if os.isatty(descriptor)]


def over_ssh() -> str:
    """What to know where this runs in a terminal that a lost connection closes; nothing elsewhere."""
    if not os.environ.get("SSH_CONNECTION") or os.environ.keys() & {"TMUX", "STY"} or not terminals():
        return ""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return ""
    return (
        "over ssh: a lost connection ends this, and it can go on later; started in tmux or with nohup it goes on alone"
    )


def hung_up(number: int, descriptors: list[int]) -> bool:
    """Whether a signal says that the terminal is gone: then what is printed there goes nowhere instead of failing."""
    if number != getattr(signal, "SIGHUP", None):
        return False
    # A shell and the kernel may both say it, a moment apart: the second one asks for nothing more.
    signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return True


class StopRequest:
    """Whether the run was asked to stop.

    Attributes:
        number: Of the signal that asked; None: nobody has asked.
    """

    number: int | None = None

    def save_now(self, step: int) -> bool:
        """Return whether to save after this step of the run and go on. Every worker asks after every step."""
        del step
        return False


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Turn the first signal within the block into a request to stop; the second one has its usual effect, at once."""
    request, printing = StopRequest(), terminals()
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: Any) -> None:
        request.number = number
        gone = hung_up(number, printing)
        restore(before)
        if gone:
            return
        os.write(2, b"stopping after this step, resumable (again: at once)\n")  # print may be what was interrupted

    with handled(listened_to(), on_signal) as handlers:
        for number, handler in handlers.items():
            # A shell has its background jobs ignore Ctrl-C; who sends it twice all the same wants the run to end.
            before[number] = signal.default_int_handler if handler == signal.SIG_IGN else handler
        yield request
