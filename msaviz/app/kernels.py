"""How is a notebook's kernel started with an environment of its own, and how does it end together with all that it started?"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from threading import Lock
from typing import Any

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""For kernels that run beside each other: each computes in one thread."""


class Kernels:
    """The kernels that were started through `manager()`: `environment` is laid over the process's own, and `end` ends them all."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.environment = dict(environment or {})
        self._groups: set[int] = set()
        self.ended = False
        self._lock = Lock()

    def manager(self) -> type:
        """A class for nbclient's `kernel_manager_class`: what it starts is remembered here."""
        from jupyter_client.manager import AsyncKernelManager

        kernels = self

        class Manager(AsyncKernelManager):
            async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
                await AsyncKernelManager.start_kernel(self, **options, env={**os.environ, **kernels.environment})
                kernels._started(int(self.provisioner.pid))  # type: ignore[union-attr]

        return Manager

    def end(self) -> None:
        """Kill every kernel with its whole process group (each has one of its own); one that starts later is killed at once."""
        with self._lock:
            self.ended = True
            while self._groups:
                _kill(self._groups.pop())

    def _started(self, group: int) -> None:
        with self._lock:
            if not self.ended:
                self._groups.add(group)
                return
        _kill(group)


def _kill(group: int) -> None:
    """Kill a process group, or on systems without them the process; nothing where it is gone."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(group, signal.SIGKILL)
        else:
            os.kill(group, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        pass
