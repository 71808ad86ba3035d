//! What things come to: the errors inside errors, and that a connection which is over says so for good.

use super::node::Node;
use super::peer::{Peer, pong};
use super::{Transport, quiet};
use futures::task::noop_waker;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::wire::{Flags, Header, PingKind};
use sluicegate::{ConfigBuilder, ConnectionError, OpenError, PingError, Side, Stream, StreamError, Violation};
use std::future::Future;
use std::io;
use std::task::{Context, Poll};

/// What every stream may send before any credit, both ways.
pub const WINDOW: u32 = 256 * 1024;

/// The stream error inside, under the kind that it says it has.
pub fn stream_error(error: &io::Error) -> StreamError {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<StreamError>());
    let inside = inside.unwrap_or_else(|| panic!("no stream error inside {error:?}")).clone();
    assert_eq!(error.kind(), inside.kind(), "{error:?}");
    inside
}

/// Who reset the stream, and with which code.
pub fn reset(error: &io::Error) -> (Side, u32) {
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error:?}");
    match stream_error(error) {
        StreamError::Reset { by, code } => (by, code),
        other => panic!("{other:?} is no reset"),
    }
}

/// Why the stream's connection is over.
pub fn lost(error: &io::Error) -> ConnectionError {
    match stream_error(error) {
        StreamError::Connection(reason) => reason,
        other => panic!("{other:?} is not the end of the connection"),
    }
}

pub fn violation(reason: ConnectionError) -> Violation {
    match reason {
        ConnectionError::Violation(violation) => violation,
        other => panic!("{other:?} is no violation"),
    }
}

/// What can be read, and the error after it. There must be no end of file.
pub async fn read_to_error(stream: &mut Stream) -> (Vec<u8>, io::Error) {
    let mut read = Vec::new();
    let error = stream.read_to_end(&mut read).await.expect_err("an end of file");
    (read, error)
}

/// All there is to read, up to the end of file.
pub async fn read_to_eof(stream: &mut Stream) -> Vec<u8> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.expect("an end of file");
    read
}

/// Exactly the next `len` bytes.
pub async fn read_exactly(stream: &mut Stream, len: usize) -> Vec<u8> {
    let mut read = vec![0; len];
    stream.read_exact(&mut read).await.expect("bytes");
    read
}

/// Both halves of the stream must fail with this reset.
pub async fn expect_reset(stream: &mut Stream, expected: (Side, u32)) {
    let (read, error) = read_to_error(stream).await;
    assert_eq!((read.len(), reset(&error)), (0, expected));
    assert_eq!(reset(&stream.write(b"late").await.expect_err("no half lives on")), expected);
}

/// Settings under which [`fill`] takes all of the credit: the connection's memory does not end first.
pub fn roomy() -> ConfigBuilder {
    quiet().max_send_buffer(8 << 20)
}

/// Writes for as long as the stream takes bytes at once: as much as it has credit for.
pub fn fill(stream: &mut Stream) -> usize {
    let mut written = 0;
    while let Some(result) = stream.write(&[b'w'; 10_000]).now_or_never() {
        written += result.expect("the write half is open");
    }
    written
}

/// Whether the connection has no answer to this yet, though it has been polled since it was asked.
pub async fn waits<T: Transport>(node: &Node<T>, asked: &mut (impl Future + Unpin)) -> bool {
    let before = asked.now_or_never().is_none();
    node.num_streams().await;
    before && asked.now_or_never().is_none()
}

/// Waits until the connection is over and says why; every way to ask must give this answer again and again.
pub async fn over<T: Transport>(node: &Node<T>) -> ConnectionError {
    let reason = loop {
        match node.accept().await {
            // Y-CLOSE-9: what came before the end is handed out before it.
            Ok(stream) => drop(stream),
            Err(reason) => break reason,
        }
    };
    let expected = format!("{reason:?}");
    let check = |got: ConnectionError| assert_eq!(format!("{got:?}"), expected);
    for _ in 0..2 {
        check(node.accept().await.expect_err("over"));
        match node.open().await.expect_err("over") {
            OpenError::Connection(reason) => check(reason),
            other => panic!("{other:?}"),
        }
        match node.ping().await.expect_err("over") {
            PingError::Connection(reason) => check(reason),
            other => panic!("{other:?}"),
        }
        let (polled, closed, num_streams) = node
            .call(|connection| {
                let waker = noop_waker();
                let cx = &mut Context::from_waker(&waker);
                ([connection.poll(cx), connection.poll_close(cx)], connection.closed(), connection.num_streams())
            })
            .await;
        for polled in polled {
            match polled {
                Poll::Ready(Err(reason)) => check(reason),
                Poll::Ready(Ok(())) => assert!(reason.is_clean(), "{reason:?} was said to be in good order"),
                Poll::Pending => panic!("pending after its end"),
            }
        }
        check(closed.expect("over"));
        assert_eq!(num_streams, 0);
    }
    reason
}

impl<T: Transport> Peer<T> {
    /// Receives and answers the ping that every connection starts with (Y-PING-5): after it, only what a test does is on the wire.
    pub async fn greet(&mut self) {
        let answers = std::mem::replace(&mut self.answers_pings, false);
        match self.next_header().await {
            Header::Ping { kind: PingKind::Request, nonce } => self.send(pong(nonce)).await,
            other => panic!("{other:?} is not the first ping"),
        }
        self.answers_pings = answers;
    }

    /// The other end has nothing to say to all that was sent. A pong overtakes what is owed on streams: the second one
    /// comes behind that.
    pub async fn expect_quiet(&mut self) {
        self.expect_silence().await;
        self.expect_silence().await;
    }

    /// Receives `len` bytes of one stream's data and not one byte more, in plain frames of at most `max`.
    pub async fn receive_data(&mut self, stream: u32, len: usize, max: u32) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < len {
            match self.next().await.expect("a frame, not the end of the transport") {
                (Header::Data { id, flags: Flags::NONE, len }, body) if id.value() == stream => {
                    assert!((1..=max).contains(&len), "a frame of {len} bytes");
                    received.extend_from_slice(&body);
                }
                (other, _) => panic!("{other:?} is not data of stream {stream}"),
            }
        }
        assert_eq!(received.len(), len);
        received
    }
}
