"""How is an archive of arrays (`.npz`) opened that somebody else made?

Nothing is allocated before every member's own header was read: what all of them claim is added up and compared with the archive's size
(`msaviz.limits`), and each must be as long as it claims. Names are keys, never places in a file system.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from msaviz.data.npy import Header, read_header, read_values
from msaviz.limits import check
from msaviz.reading import plain_file, reading

DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, NotImplementedError, UnicodeDecodeError, OverflowError)
"""What zipfile raises for an archive that is none."""


def is_archive(path: Path) -> bool:
    """Whether this is a zip archive of .npy members alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (*DAMAGED, ValueError):
        return False


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Key -> array; ValueError that names file, member and what is wrong with it."""
    plain_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise ValueError(f"{path}: two of its arrays have one name")
            headers = {key: _header(path, archive, info) for key, info in members.items()}
            check(path, sum(header.asked for header in headers.values()), path.stat().st_size)
            return {key: _values(path, archive, members[key], header) for key, header in headers.items()}
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged, or no archive that numpy.savez wrote: {error}") from None


def _header(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    """What a member claims, if it is as long as that."""
    name = f"{path}, {info.filename[:80]!r}"
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name}: it is encrypted, or compressed as numpy does not; save it with numpy.savez")
    with reading(name), archive.open(info) as stream:
        header = read_header(stream)
    if header.start + header.bytes != info.file_size:
        claim = f"{list(header.shape)} of {header.dtype}, {header.start + header.bytes:,} bytes"
        raise ValueError(f"{name}: it claims {claim}, but has {info.file_size:,}")
    return header


def _values(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: Header) -> np.ndarray:
    with reading(f"{path}, {info.filename[:80]!r}"), archive.open(info) as stream:
        stream.read(header.start)
        return read_values(stream, header)
