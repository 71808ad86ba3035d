//! A peer driven by hand: it sends any frame, legal or not, and says what it receives.

use super::node::Node;
use super::{Pipe, Transport, pipe};
use asynchronous_codec::Framed;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use sluicegate::wire::{Codec, Flags, Frame, Header, PingKind, StreamId};
use sluicegate::{ConfigBuilder, Mode, Stream};
use std::time::Duration;

/// One end of a transport with a codec, and nothing that follows any rule by itself, but for pings: they are answered
/// where [`Peer::next`] is told to.
pub struct Peer<T> {
    framed: Framed<T, Codec>,
    /// Whether pings of the other end are answered and kept from the test.
    pub answers_pings: bool,
}

pub fn id(value: u32) -> StreamId {
    StreamId::new(value).expect("not zero")
}

pub fn data(stream: u32, flags: Flags, len: u32) -> Header {
    Header::Data { id: id(stream), flags, len }
}

/// How this crate ends its half of a stream.
pub fn fin(stream: u32) -> Header {
    data(stream, Flags::FIN, 0)
}

pub fn update(stream: u32, flags: Flags, value: u32) -> Header {
    Header::WindowUpdate { id: id(stream), flags, value }
}

pub fn ping(nonce: u32) -> Header {
    Header::Ping { kind: PingKind::Request, nonce }
}

pub fn pong(nonce: u32) -> Header {
    Header::Ping { kind: PingKind::Response, nonce }
}

pub fn go_away(code: u32) -> Header {
    Header::GoAway { code }
}

/// A node, and the peer at its other end, which has answered its first ping.
pub async fn scripted(mode: Mode, capacity: usize, settings: ConfigBuilder) -> (Node<Pipe>, Peer<Pipe>) {
    let (near, far) = pipe(capacity);
    let node = Node::new(near, settings.build().expect("valid settings"), mode);
    let mut peer = Peer::new(far);
    peer.greet().await;
    (node, peer)
}

/// A stream that the peer has opened and the node accepted, by an acknowledgement that grants so much.
pub async fn accepted<T: Transport, U: Transport>(node: &Node<T>, peer: &mut Peer<U>, id: u32, granted: u32) -> Stream {
    peer.send(update(id, Flags::SYN, 0)).await;
    let stream = node.accept().await.expect("the peer has opened it");
    assert_eq!(stream.id(), id);
    peer.expect(update(id, Flags::ACK, granted)).await;
    stream
}

impl<T: Transport> Peer<T> {
    pub fn new(io: T) -> Self {
        Self { framed: Framed::new(io, Codec::default()), answers_pings: true }
    }

    /// Sends a header alone.
    pub async fn send(&mut self, header: Header) {
        self.framed.send(Frame::Header(header)).await.expect("the transport takes it");
    }

    /// Sends a data frame.
    pub async fn send_data(&mut self, stream: u32, flags: Flags, body: &[u8]) {
        let len = u32::try_from(body.len()).expect("short");
        self.feed(data(stream, flags, len)).await;
        self.send_raw(body).await;
    }

    /// Queues a header; the next `send` takes it along.
    pub async fn feed(&mut self, header: Header) {
        self.framed.feed(Frame::Header(header)).await.expect("the transport takes it");
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.framed.send(Frame::Body(Bytes::copy_from_slice(bytes))).await.expect("the transport takes it");
    }

    /// The next frame with its whole body; `None` at the end of the transport, or when that fails.
    pub async fn next(&mut self) -> Option<(Header, Vec<u8>)> {
        loop {
            let Frame::Header(header) = self.framed.next().await?.ok()? else { panic!("a body without a header") };
            if let (Header::Ping { kind: PingKind::Request, nonce }, true) = (header, self.answers_pings) {
                self.framed.send(Frame::Header(pong(nonce))).await.ok()?;
                continue;
            }
            let mut body = BytesMut::new();
            while body.len() < header.body_len() as usize {
                match self.framed.next().await?.ok()? {
                    Frame::Body(bytes) => body.extend_from_slice(&bytes),
                    Frame::Header(_) => panic!("a header inside a body"),
                }
            }
            return Some((header, body.to_vec()));
        }
    }

    /// The next frame, which must have no body.
    pub async fn next_header(&mut self) -> Header {
        let (header, body) = self.next().await.expect("a frame, not the end of the transport");
        assert!(body.is_empty(), "{header:?} has a body");
        header
    }

    /// The next frame must be this header.
    pub async fn expect(&mut self, expected: Header) {
        assert_eq!(self.next_header().await, expected);
    }

    /// The next frame must be data of this stream.
    pub async fn expect_data(&mut self, stream: u32, expected: &[u8]) {
        let (header, body) = self.next().await.expect("a frame, not the end of the transport");
        assert_eq!((header, body.as_slice()), (data(stream, Flags::NONE, expected.len() as u32), expected));
    }

    /// Everything the other end has sent up to a ping of ours has been received and did not contain a frame but the
    /// pong: it has nothing to say.
    pub async fn expect_silence(&mut self) {
        let nonce = 0x51_1E_4C_E0;
        self.send(ping(nonce)).await;
        self.expect(pong(nonce)).await;
    }

    /// The other end must send go-away with this code, then end the transport.
    pub async fn expect_end(&mut self, code: u32) {
        self.expect(go_away(code)).await;
        assert_eq!(self.next().await, None);
    }

    /// Ends this side of the transport, still reading.
    pub async fn shut(&mut self) {
        self.framed.close().await.expect("shuts");
    }

    /// Nothing arrives for `time`.
    pub async fn expect_nothing_for(&mut self, time: Duration) {
        if let Ok(frame) = tokio::time::timeout(time, self.next()).await {
            panic!("{frame:?} where nothing was expected");
        }
    }
}
