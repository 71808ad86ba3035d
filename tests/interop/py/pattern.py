"""The bytes that streams carry."""

from __future__ import annotations

LENGTH = 65_521


def _make_table() -> bytes:
    x = 0x9E37_79B9_7F4A_7C15
    table = bytearray()
    for _ in range(LENGTH):
        x ^= (x << 13) & 0xFFFF_FFFF_FFFF_FFFF
        x ^= x >> 7
        x ^= (x << 17) & 0xFFFF_FFFF_FFFF_FFFF
        table.append((x >> 32) & 0xFF)
    return bytes(table)


# Three times the table, so that a piece of up to two tables never wraps around.
_TABLE = _make_table() * 3


def piece(seed: int, offset: int, length: int) -> bytes:
    start = (seed * 7919 + offset) % LENGTH
    return _TABLE[start : start + length]


def difference(seed: int, offset: int, data: bytes) -> int | None:
    """The first offset at which `data` is not the pattern."""
    expected = piece(seed, offset, len(data))
    if data == expected:
        return None
    return offset + next(at for at, (a, b) in enumerate(zip(data, expected)) if a != b)
