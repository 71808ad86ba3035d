"""What is done with a stream, of the muxer alone or of a node."""

from __future__ import annotations

from typing import Protocol

from libp2p.network.stream.exceptions import StreamReset
from libp2p.stream_muxer.exceptions import MuxedStreamReset

import pattern
from lines import Unsupported

PIECE = 16 * 1024
READ = 64 * 1024


class Stream(Protocol):
    async def read(self, n: int | None = None) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


def describe(error: Exception) -> str:
    if isinstance(error, Unsupported):
        return f"unsupported {error}"
    if isinstance(error, (MuxedStreamReset, StreamReset)):
        # The same exception for a reset by either side; there are no codes.
        return "reset ? -"
    return f"failed {type(error).__name__}: {error}"


async def read(stream: Stream, limit: int) -> bytes:
    """Up to `limit` bytes, and none at the end of the stream."""
    try:
        return await stream.read(limit)
    except EOFError:
        pass
    # `read()` tells an end from a reset.
    try:
        return await stream.read()
    except EOFError:
        return b""


async def send(stream: Stream, seed: int, start: int, end: int) -> None:
    for offset in range(start, end, PIECE):
        await stream.write(pattern.piece(seed, offset, min(PIECE, end - offset)))


async def receive(stream: Stream, seed: int, start: int, end: int) -> str:
    offset = start
    while offset < end:
        data = await read(stream, min(READ, end - offset))
        if not data:
            return f"end {offset}"
        at = pattern.difference(seed, offset, data)
        if at is not None:
            return f"differs {at}"
        offset += len(data)
    return "ok"


async def expect_end(stream: Stream) -> str:
    return "more" if await read(stream, 1) else "ok"


async def echo(stream: Stream) -> int:
    count = 0
    while data := await read(stream, READ):
        for offset in range(0, len(data), PIECE):
            await stream.write(data[offset : offset + PIECE])
        count += len(data)
    return count
