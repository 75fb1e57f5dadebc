"""Zip files that nobody can read."""

from __future__ import annotations

UNKNOWN = (99).to_bytes(2, "little")
"""A method of compression that no reader has."""


def compressed_by_unknown_means(archive: bytes) -> bytes:
    """Return a zip file whose members all claim a compression that zipfile does not know."""
    changed, at = bytearray(archive), archive.find(b"PK\x01\x02")
    while at >= 0:
        changed[at + 10 : at + 12] = UNKNOWN
        at = archive.find(b"PK\x01\x02", at + 4)
    return bytes(changed)
