"""The muxer of py-libp2p over plain TCP."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import trio
from libp2p.abc import ISecureConn
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from libp2p.stream_muxer.yamux.yamux import Yamux, YamuxStream

import lines
import transfer
from lines import Unsupported

# How long a call may go on after the end of the connection before it is given up.
GRACE = 1.0


class Turns:
    """Lets tasks through one by one, in the order in which they took their turns."""

    def __init__(self) -> None:
        self._last = trio.Event()
        self._last.set()

    def take(self) -> AbstractAsyncContextManager[None]:
        before, self._last = self._last, trio.Event()
        return self._turn(before, self._last)

    @staticmethod
    @asynccontextmanager
    async def _turn(before: trio.Event, done: trio.Event) -> AsyncIterator[None]:
        try:
            await before.wait()
            yield
        finally:
            done.set()


class Muxer:
    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._yamux: Yamux | None = None
        self._started = trio.Event()
        self._over = trio.Event()
        self._failure: Exception | None = None
        self._scopes: set[trio.CancelScope] = set()
        self._streams: dict[str, YamuxStream] = {}
        self._arrive, self._arrived = trio.open_memory_channel[YamuxStream](math.inf)
        self._opening = Turns()
        self._accepting = Turns()
        self._round_trip_told = False

    def verbs(self) -> dict[str, lines.Verb]:
        return {
            "listen": self.listen,
            "dial": self.dial,
            "closed": self.closed,
            "open": self._on_connection(self.open),
            "accept": self._on_connection(self.accept),
            "send": self._on_connection(self.send),
            "receive": self._on_connection(self.receive),
            "end": self._on_connection(self.end),
            "finish": self._on_connection(self.finish),
            "reset": self._on_connection(self.reset),
            "drop": self._on_connection(self.drop),
            "echo": self._on_connection(self.echo),
            "ping": self._on_connection(self.ping),
            "goaway": self._on_connection(self.goaway),
            "close": self._on_connection(self.close),
            "streams": self._on_connection(self.streams),
        }

    # The connection

    async def listen(self, *settings: str) -> str:
        check_settings(settings)
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        host, port = listener.socket.getsockname()

        async def accept_one() -> None:
            async with listener:
                stream = await listener.accept()
            await self._run(stream, is_initiator=False)

        self._nursery.start_soon(accept_one)
        return f"ok {host}:{port}"

    async def dial(self, address: str, *settings: str) -> str:
        check_settings(settings)
        host, port = address.rsplit(":", 1)
        stream = await trio.open_tcp_stream(host, int(port))
        self._nursery.start_soon(lambda: self._run(stream, is_initiator=True))
        await self._started.wait()
        return "ok"

    async def closed(self) -> str:
        await self._over.wait()
        if self._failure is not None:
            raise self._failure
        return "ok"

    async def _run(self, stream: trio.SocketStream, is_initiator: bool) -> None:
        connection = RawConnection(TrioTCPStream(stream), is_initiator)
        yamux = Yamux(cast(ISecureConn, connection), ID(b"peer"), is_initiator)
        self._yamux = yamux
        self._nursery.start_soon(self._accept_all, yamux)
        self._nursery.start_soon(self._announce, yamux)
        try:
            await yamux.start()
        except Exception as error:
            self._failure = error
        self._over.set()
        for scope in self._scopes:
            scope.deadline = trio.current_time() + GRACE

    async def _announce(self, yamux: Yamux) -> None:
        await yamux.event_started.wait()
        self._started.set()

    async def _accept_all(self, yamux: Yamux) -> None:
        # Always taken, as the library's hosts do.
        async with self._arrive:
            try:
                while True:
                    await self._arrive.send(cast(YamuxStream, await yamux.accept_stream()))
            except MuxedConnUnavailable:
                pass

    def _on_connection(self, verb: lines.Verb) -> lines.Verb:
        def begin(*words: str) -> Coroutine[None, None, str]:
            return self._finish_with_connection(verb(*words))

        return begin

    async def _finish_with_connection(self, work: Awaitable[str]) -> str:
        await self._started.wait()
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            if self._over.is_set():
                scope.deadline = trio.current_time() + GRACE
            try:
                return await work
            finally:
                self._scopes.discard(scope)
        return "failed the connection is over and the call did not return"

    # On the connection

    def open(self, name: str) -> Coroutine[None, None, str]:
        turn = self._opening.take()

        async def work() -> str:
            async with turn:
                self._streams[name] = await self._muxer().open_stream()
            return "ok"

        return work()

    def accept(self, name: str) -> Coroutine[None, None, str]:
        turn = self._accepting.take()

        async def work() -> str:
            async with turn:
                try:
                    self._streams[name] = await self._arrived.receive()
                except trio.EndOfChannel:
                    # Says again why there are no more.
                    await self._muxer().accept_stream()
            return "ok"

        return work()

    async def send(self, name: str, seed: str, start: str, end: str) -> str:
        await transfer.send(self._stream(name), int(seed), int(start), int(end))
        return "ok"

    async def receive(self, name: str, seed: str, start: str, end: str) -> str:
        return await transfer.receive(self._stream(name), int(seed), int(start), int(end))

    async def end(self, name: str) -> str:
        return await transfer.expect_end(self._stream(name))

    async def finish(self, name: str) -> str:
        await self._stream(name).close()
        return "ok"

    async def reset(self, name: str, code: str) -> str:
        if int(code):
            raise Unsupported("its API resets without a code")
        await self._stream(name).reset()
        return "ok"

    async def drop(self, name: str) -> str:
        # As `async with` does. There is no call that closes the read half.
        await self._stream(name).close()
        return "ok"

    async def echo(self, name: str) -> str:
        stream = self._stream(name)
        count = await transfer.echo(stream)
        await stream.close()
        return f"ok {count}"

    async def ping(self) -> str:
        # There is no call for a ping. The connection sends one half a second after its start and then every 30 seconds,
        # and `rtt` tells their mean. So the first request is answered with the first ping.
        if self._round_trip_told:
            raise Unsupported("its API sends no more pings")
        self._round_trip_told = True
        while not (seconds := self._muxer().rtt()):
            await trio.sleep(0.01)
        return f"ok {round(seconds * 1e6)}"

    async def goaway(self) -> str:
        raise Unsupported("its API sends a go-away only to end its session")

    async def close(self, code: str) -> str:
        await self._muxer().close(int(code))
        return "ok"

    async def streams(self) -> str:
        return f"ok {len(self._muxer().streams)}"

    def _muxer(self) -> Yamux:
        assert self._yamux is not None
        return self._yamux

    def _stream(self, name: str) -> YamuxStream:
        if name not in self._streams:
            raise ValueError(f"no stream {name}")
        return self._streams[name]


def check_settings(settings: tuple[str, ...]) -> None:
    # Neither can be set: windows grow from 256 KiB up to 16 MiB, and opening a stream does not wait for the peer.
    for setting in settings:
        if setting.partition("=")[0] not in ("window", "open_timeout"):
            raise ValueError(f"no setting {setting}")


class Program:
    """Serves one connection after another, each by a muxer of its own."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._muxer = Muxer(nursery)
        self._begun = False

    def verbs(self) -> dict[str, lines.Verb]:
        return {name: self._verb(name) for name in self._muxer.verbs()}

    def _verb(self, name: str) -> lines.Verb:
        def begin(*words: str) -> Coroutine[None, None, str]:
            if name in ("listen", "dial"):
                if self._begun:
                    self._muxer = Muxer(self._nursery)
                self._begun = True
            return self._muxer.verbs()[name](*words)

        return begin


async def run() -> None:
    async with trio.open_nursery() as nursery:
        await lines.serve(Program(nursery).verbs(), transfer.describe)
