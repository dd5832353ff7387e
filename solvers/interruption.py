"""Ctrl-C while a solver of PETSc runs: the solve is finished first, for an error within its callbacks ends in PETSc's own traceback."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def finished_first() -> Iterator[None]:
    """Let the block end before a Ctrl-C is heard, by whoever listened before; a second one interrupts at once.

    Only the main thread hears signals; in another one this does nothing, nor where Ctrl-C is ignored, as in a shell's background.
    """
    listener = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or listener in (None, signal.SIG_IGN):
        yield
        return
    heard = False

    def hear(number: int, frame: object) -> None:
        nonlocal heard
        if heard:
            raise KeyboardInterrupt
        heard = True

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, listener)
        if heard:
            signal.raise_signal(signal.SIGINT)
