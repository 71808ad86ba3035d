"""Requests on standard input, answers on standard output."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine

import trio

# A request is begun in the order of the lines, by an ordinary call; what it returns then runs as a task of its own.
Verb = Callable[..., Coroutine[None, None, str]]
Around = Callable[[Awaitable[str]], Coroutine[None, None, str]]


class Unsupported(Exception):
    """The API offers no such thing."""


async def serve(verbs: dict[str, Verb], describe: Callable[[Exception], str]) -> None:
    token = trio.lowlevel.current_trio_token()
    send, lines = trio.open_memory_channel[str](math.inf)

    def read() -> None:
        for line in sys.stdin:
            token.run_sync_soon(send.send_nowait, line)
        os._exit(0)

    # A thread, so that the end of the input is seen at once, however busy the event loop is.
    threading.Thread(target=read, daemon=True).start()

    async def answer(tag: str, work: Awaitable[str]) -> None:
        try:
            write(tag, await work)
        except Exception as error:
            write(tag, describe(error))

    async with trio.open_nursery() as nursery:
        async for line in lines:
            tag, verb, *words = line.split()
            try:
                work = verbs[verb](*words)
            except (KeyError, TypeError, ValueError) as error:
                write(tag, f"failed bad request: {error!r}")
                continue
            nursery.start_soon(answer, tag, work)


def write(tag: str, result: str) -> None:
    print(tag, *result.split(), flush=True)
