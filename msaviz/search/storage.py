"""Where do the trials of all workers meet, on one machine or on many?"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msaviz.reading import reading

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from sqlalchemy.engine import URL

JOURNAL = "journal.log"
GRACE = 10
"""Seconds after which a lock on the journal is taken from a process that died with it (it is held for milliseconds)."""
PASSWORD = "MSAVIZ_STORAGE_PASSWORD"
"""The environment variable with the password of a database: it stands in no file and in no command line."""
SECRETS = {"password", "passwd", "pwd", "sslpassword", "secret", "token"}
"""Options of a database's URL that are no place for a secret either."""
WAIT = 10
"""Seconds that a gRPC server has to answer."""


class NotBegun(ValueError):
    """Nothing was asked for in an arm yet."""


def open_storage(storage: str, folder: Path) -> BaseStorage:
    """The storage that `storage` names: "" is FOLDER/journal.log, "grpc://host:port" a proxy server, anything else a database URL.

    ValueError where none answers or a package is missing.
    """
    try:
        if not storage:
            return _journal(folder / JOURNAL)
        if storage.startswith("grpc://"):
            return _proxy(storage)
        from optuna.storages import get_storage

        return get_storage(_with_password(storage))
    except ImportError as error:
        raise ValueError(f"the storage {storage!r} needs a package that is not installed ({error}); see the extra `search`") from None
    except Exception as error:
        if isinstance(error, ValueError) or type(error).__module__.split(".")[0] not in ("sqlalchemy", "optuna", "grpc"):
            raise
        raise ValueError(f"no storage answers at {storage!r}: {' '.join(str(error).split())[:200]}") from None


def without_secrets(storage: str) -> str:
    """The storage as it may be kept in a file and named in messages; ValueError for a URL with a password in it."""
    if storage and not storage.startswith("grpc://"):
        url = _url(storage)
        if url is not None and (url.password or SECRETS & {key.lower() for key in url.query}):
            raise ValueError(
                "a password in the storage's URL would be kept in search.json and seen by everybody on this machine; "
                f"leave it out of the URL, and put it into the environment variable {PASSWORD}"
            )
    return storage


def _with_password(storage: str) -> str:
    """The URL with the password that the environment holds, if there is one for it."""
    url, password = _url(storage), os.environ.get(PASSWORD)
    return url.set(password=password).render_as_string(hide_password=False) if url is not None and url.username and password else storage


def _url(storage: str) -> URL | None:
    """The parts of a database's URL; None for what is none, of which Optuna says what is wrong."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage)
    except (ArgumentError, ValueError):
        return None


def _journal(path: Path) -> BaseStorage:
    """The journal, under a lock that NFS keeps too; a last line that a crash cut short is removed.

    It is read as JSON, line by line: only the storages of optuna that keep snapshots (Redis) unpickle anything, and none is opened here.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = path.absolute()
    if path.is_symlink() or (path.exists() and not path.is_file()):  # what is cut short must be ours
        raise ValueError(f"{path} is a link, or no plain file; put the journal itself there")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileOpenLock(str(path), grace_period=GRACE)
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        lock.acquire()
        try:
            whole = path.read_bytes().rfind(b"\n") + 1
            os.truncate(path, whole)
        finally:
            lock.release()
    with reading(path, "copy the folder again, or search anew into another"):
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _proxy(address: str) -> BaseStorage:
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import GrpcStorageProxy

    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"a gRPC storage is grpc://host:port; got {address!r}")
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        proxy = GrpcStorageProxy(host=host, port=int(port))
    try:
        proxy.wait_server_ready(timeout=WAIT)
    except ConnectionError:
        raise ValueError(f"no gRPC storage server answers at {address} within {WAIT} s (optuna.storages.run_grpc_proxy_server)") from None
    return proxy


def open_study(storage: BaseStorage, name: str, objectives: int, *, make: bool = True) -> Study:
    """The study of this name; everything is made small. Where there is none it is made, or it is NotBegun."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    if not make:
        try:
            return optuna.load_study(storage=storage, study_name=name)
        except KeyError:
            raise NotBegun(f"the storage holds no study {name!r}") from None
    directions = [optuna.study.StudyDirection.MINIMIZE] * objectives
    return optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)


def this_process() -> dict[str, Any]:
    """Who works here: host, process and when it began (a process id may be given again)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": _began(os.getpid())}


def is_gone(worker: Mapping[str, Any]) -> bool | None:
    """Whether a worker has ended; None for one on another host, of which we cannot know."""
    if worker["host"] != socket.gethostname():
        return None
    try:
        os.kill(worker["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _began(worker["pid"]) != worker["began"]


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did; "" where the system does not tell, "ended" for one that nobody buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]
