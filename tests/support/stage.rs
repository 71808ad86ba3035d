//! A node with a memory budget, and the peer at its other end, which is driven by hand.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use crate::support::node::Node;
use crate::support::peer::{self, Peer, update};
use crate::support::{Pipe, pipe, quiet};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::Flags;
use sluicegate::{ConfigBuilder, ConnectionError, MemoryLimit, Mode, Side, Stream, StreamError};
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// The window that yamux starts every stream with, in bytes.
pub const WINDOW: usize = 256 * 1024;

pub struct Stage {
    pub node: Node<Pipe>,
    pub peer: Peer<Pipe>,
    pub memory: Arc<MemoryLimit>,
}

impl Stage {
    /// The node is a server: the peer opens odd ids.
    pub fn server() -> Self {
        Self::with(Mode::Server, 1 << 20, frugal())
    }

    /// The node is a client: it opens odd ids.
    pub fn client() -> Self {
        Self::with(Mode::Client, 1 << 20, frugal())
    }

    pub fn with(mode: Mode, capacity: usize, settings: ConfigBuilder) -> Self {
        let memory = Arc::new(MemoryLimit::new(1 << 30));
        let (near, far) = pipe(capacity);
        let config = settings.memory(memory.clone()).build().expect("valid settings");
        Self { node: Node::new(near, config, mode), peer: Peer::new(far), memory }
    }

    /// A stream that the peer has opened and the node accepted; the peer knows.
    pub async fn accepted(&mut self, id: u32) -> Stream {
        peer::accepted(&self.node, &mut self.peer, id, 0).await
    }

    /// A stream that the node has opened; the peer has seen its SYN and said nothing yet.
    pub async fn opened(&mut self) -> Stream {
        let mut stream = self.node.open().await.expect("opens");
        stream.flush().await.expect("the transport takes it");
        self.peer.expect(update(stream.id(), Flags::SYN, 0)).await;
        stream
    }

    /// What the node has reserved, once it has done all that the peer has caused so far.
    pub async fn reserved(&mut self) -> usize {
        self.peer.expect_silence().await;
        self.memory.reserved()
    }

    /// Nothing is left of any stream, and the connection lives.
    pub async fn expect_clean(&mut self) {
        assert_eq!(self.reserved().await, 0);
        assert_eq!(self.node.num_streams().await, 0);
    }
}

/// Settings with which nothing but windows is reserved: what is queued to be sent fits the fixed part.
pub fn frugal() -> ConfigBuilder {
    quiet().max_send_buffer(64 * 1024)
}

/// Everything up to the end of a stream, and the error that was its end, if it was one.
pub async fn drain(stream: &mut Stream) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::new();
    let result = stream.read_to_end(&mut bytes).await;
    (bytes, result.err())
}

/// Who has reset the stream, and the code.
pub fn reset(error: &io::Error) -> (Side, u32) {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(StreamError::Reset { by, code }) if error.kind() == io::ErrorKind::ConnectionReset => (*by, *code),
        _ => panic!("{error:?} is no reset"),
    }
}

/// Why the connection of a stream has ended.
pub fn reason(error: &io::Error) -> ConnectionError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(StreamError::Connection(reason)) if error.kind() == reason.kind() => reason.clone(),
        _ => panic!("{error:?} does not come from the connection"),
    }
}

/// The same variant with the same fields; errors that hold an `io::Error` have no equality.
#[track_caller]
pub fn assert_same(actual: impl Debug, expected: impl Debug) {
    assert_eq!(format!("{actual:?}"), format!("{expected:?}"));
}

/// Bytes that differ by position, so that a hole or a swap shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i >> 9) as u8).collect()
}
