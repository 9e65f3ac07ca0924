"""Zip-based documents: opened only when what they unpack to is bounded."""

from __future__ import annotations

import zipfile
from pathlib import Path

from fileintel.errors import CorruptDocumentError, DocumentTooLargeError, EncryptedDocumentError

UNPACKED_LIMIT = 1 << 30
"""Bytes a zip-based document may unpack to."""
RATIO_LIMIT = 200
"""How many times its own size a zip-based document may unpack to, from RATIO_FLOOR bytes on."""
RATIO_FLOOR = 64 << 20
MEMBER_LIMIT = 50_000


def check(path: Path, shown: str) -> None:
    """Refuse a zip bomb, a damaged directory and encrypted members.

    The sizes are the directory's own: `zipfile` reads no member beyond its declared size, so a directory that lies
    yields a truncated member (corrupt), not a bomb.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, EOFError, ValueError, OverflowError, NotImplementedError) as error:
        raise CorruptDocumentError(
            f"{shown} is damaged or cut off: its zip directory cannot be read; send the file again"
        ) from error
    unpacked = sum(member.file_size for member in members)
    ratio = unpacked / max(1, path.stat().st_size)
    if unpacked > UNPACKED_LIMIT or len(members) > MEMBER_LIMIT or (unpacked > RATIO_FLOOR and ratio > RATIO_LIMIT):
        raise DocumentTooLargeError(
            f"{shown} unpacks to {unpacked >> 20} MiB in {len(members)} parts, {ratio:.0f} times its size: at most "
            f"{UNPACKED_LIMIT >> 20} MiB, {MEMBER_LIMIT} parts and {RATIO_LIMIT} times are read; split the document"
        )
    if any(member.flag_bits & 0x1 for member in members):
        raise EncryptedDocumentError(f"{shown} asks for a password; save it without one and send it again")
