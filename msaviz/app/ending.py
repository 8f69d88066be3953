"""How does a command end when the system asks it to?"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

BY_SIGNAL = 128
"""And the number of the signal: the exit code of a command that Ctrl-C (130) or SIGTERM (143) ended."""


@contextmanager
def terminable() -> Iterator[list[int]]:
    """SIGTERM (of `kill`, a scheduler, a shutdown) ends what is inside as Ctrl-C does, with its workers; the list then holds the signal."""
    came: list[int] = []

    def stop(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # once: what ends the workers must not be stopped itself
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
