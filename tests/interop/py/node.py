"""A whole host of py-libp2p."""

from __future__ import annotations

import logging
import math
import time
from typing import cast

import trio
from libp2p import generate_new_ed25519_identity, new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING, perform_ping_roundtrip
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.network.config import ConnectionConfig
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE, Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX, Yamux
from libp2p.transport.tcp.tcp import TCP
from libp2p.utils.varint import read_length_prefixed_protobuf
from multiaddr import Multiaddr

import lines
import pattern
import transfer

ECHO = TProtocol("/sluicegate/echo/1.0.0")
MESSAGE = TProtocol("/sluicegate/message/1.0.0")

# A stream that is not open by then counts as refused.
OPEN_SECONDS = 10.0


class Node:
    def __init__(self, host: IHost) -> None:
        self._host = host
        self._peer_id: ID | None = None
        # Messages, and how many there were of which the end did not come.
        self._messages: list[bytes] = []
        self._broken = 0
        host.set_stream_handler(ECHO, self._answer_echo)
        host.set_stream_handler(MESSAGE, self._receive)

    def verbs(self) -> dict[str, lines.Verb]:
        return {
            "listen": self.listen,
            "dial": self.dial,
            "identify": self.identify,
            "ping": self.ping,
            "echo": self.echo,
            "echoes": self.echoes,
            "messages": self.messages,
            "received": self.received,
            "connections": self.connections,
        }

    async def listen(self) -> str:
        if not await self._host.get_network().listen(Multiaddr("/ip4/127.0.0.1/tcp/0")):
            raise OSError("cannot listen")
        return f"ok {self._host.get_addrs()[0]}"

    async def dial(self, address: str) -> str:
        info = info_from_p2p_addr(Multiaddr(address))
        await self._host.connect(info)
        self._peer_id = info.peer_id
        return "ok"

    async def identify(self) -> str:
        # The host has identified its peer already, but it keeps no agent version.
        stream = await self._open(IDENTIFY)
        message = Identify()
        message.ParseFromString(await read_length_prefixed_protobuf(stream))
        await stream.close()
        agent = message.agent_version.replace(" ", "_")
        return f"ok {agent} {' '.join(message.protocols)}"

    async def ping(self) -> str:
        stream = await self._open(PING)
        start = time.perf_counter()
        await perform_ping_roundtrip(stream)
        elapsed = time.perf_counter() - start
        await stream.close()
        return f"ok {round(elapsed * 1e6)}"

    async def echo(self, seed: str, length: str) -> str:
        return await _exchange(await self._open(ECHO), int(seed), int(length))

    async def echoes(self, count: str, length: str) -> str:
        streams: dict[int, NetStream] = {}
        results: list[str] = []

        async def open_one(seed: int) -> None:
            try:
                streams[seed] = await self._open(ECHO)
            except Exception:
                pass

        async def exchange_one(seed: int, stream: NetStream) -> None:
            results.append(await _exchange(stream, seed, int(length)))

        async with trio.open_nursery() as nursery:
            for seed in range(int(count)):
                nursery.start_soon(open_one, seed)
        async with trio.open_nursery() as nursery:
            for seed, stream in streams.items():
                nursery.start_soon(exchange_one, seed, stream)

        for result in results:
            if result != "ok" and not result.startswith("reset"):
                return result
        done = results.count("ok")
        return f"ok {done} {int(count) - done}"

    async def messages(self, count: str, length: str) -> str:
        async def send() -> None:
            stream = await self._open(MESSAGE)
            await transfer.send(stream, 0, 0, int(length))
            await stream.close()

        async with trio.open_nursery() as nursery:
            for _ in range(int(count)):
                nursery.start_soon(send)
        return "ok"

    async def received(self, length: str) -> str:
        message = pattern.piece(0, 0, int(length))
        whole = self._messages.count(message)
        return f"ok {whole} {len(self._messages) - whole + self._broken}"

    async def connections(self) -> str:
        peer_id = await self._peer()
        return f"ok {len(self._host.get_network().get_connections(peer_id))}"

    async def _peer(self) -> ID:
        """The peer of the first connection, in either direction."""
        while self._peer_id is None:
            for peer_id in self._host.get_connected_peers():
                self._peer_id = peer_id
                break
            else:
                await trio.sleep(0.01)
        return self._peer_id

    async def _open(self, protocol: TProtocol) -> NetStream:
        peer_id = await self._peer()
        if not self._host.get_network().get_connections(peer_id):
            # Opening a stream would dial again.
            raise ConnectionError("the connection is over")
        with trio.fail_after(OPEN_SECONDS):
            return cast(NetStream, await self._host.new_stream(peer_id, [protocol]))

    async def _receive(self, stream: INetStream) -> None:
        stream = cast(NetStream, stream)
        message = b""
        try:
            while data := await transfer.read(stream, transfer.READ):
                message += data
            await stream.close()
        except Exception:
            logging.exception("message")
            self._broken += 1
            return
        self._messages.append(message)

    async def _answer_echo(self, stream: INetStream) -> None:
        stream = cast(NetStream, stream)
        try:
            await transfer.echo(stream)
            await stream.close_write()
        except Exception:
            await stream.reset()


async def _exchange(stream: NetStream, seed: int, length: int) -> str:
    """Sends the pattern, and reads and compares its echo."""
    result = ""

    async def send_all() -> None:
        nonlocal result
        try:
            await transfer.send(stream, seed, 0, length)
            await stream.close_write()
        except Exception as error:
            result = transfer.describe(error)
            nursery.cancel_scope.cancel()

    async def receive_all() -> None:
        nonlocal result
        try:
            result = await transfer.receive(stream, seed, 0, length)
            if result == "ok":
                result = await transfer.expect_end(stream)
        except Exception as error:
            result = transfer.describe(error)
        if result != "ok":
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all)
        nursery.start_soon(receive_all)
    if result == "ok":
        await stream.close()
    else:
        await stream.reset()
    return result


async def run() -> None:
    key_pair = generate_new_ed25519_identity()
    host = new_host(
        key_pair=key_pair,
        muxer_opt={TProtocol(YAMUX): Yamux},
        sec_opt={NOISE: NoiseTransport(key_pair, noise_privkey=new_noise_key_pair().private_key)},
        transports=[TCP()],
        # It never dials of its own accord, and does not guess its addresses.
        connection_config=ConnectionConfig(min_connections=0, auto_connect_interval=math.inf),
        disable_identify_address_discovery=True,
    )
    node = Node(host)
    async with host.run(listen_addrs=[]):
        await lines.serve(node.verbs(), transfer.describe)
