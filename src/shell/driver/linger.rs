//! Owns [`Linger`]: the lingering close of the transport, so that the peer gets to read why the connection ends.
//!
//! What is queued is written and flushed, the write side is shut down, and what the peer still sends is read and discarded: a
//! transport that is closed with bytes unread may destroy the go-away on its way (Y-CLOSE-2, Y-CLOSE-3).

use crate::proto::limits::{LINGER_TIME, POLL_READ_BYTES};
use crate::shell::reader::Reader;
use crate::shell::writer::Writer;
use crate::wire::{Frame, Header};
use futures::{AsyncRead, AsyncWrite};
use std::pin::Pin;
use std::task::{Context, Poll};
use web_time::Instant;

#[derive(Debug)]
pub(super) struct Linger {
    step: Step,
    deadline: Instant,
    peer: Peer,
    input: Input,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Write and flush what is queued.
    Flush,
    /// Shut down the write side.
    Shutdown,
    /// Read and discard until the peer has shut down its side too, or has sent a go-away.
    Drain,
}

/// What is known of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It may send more.
    Open,
    /// It has sent a go-away, and no frame of a stream since (Y-CLOSE-13).
    GoneAway,
    /// Its side of the transport has ended.
    Eof,
}

/// Whether what the peer sends can still be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Frames,
    Invalid,
}

/// Whether the transport has anything to read at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Available {
    Nothing,
    More,
}

/// Nothing more can or need be done with the transport.
#[derive(Debug)]
pub(super) struct Done;

#[expect(clippy::arithmetic_side_effects, reason = "an instant a second from now can be represented")]
impl Linger {
    pub(super) fn new(peer: Peer, now: Instant) -> Self {
        Self { step: Step::Flush, deadline: now + LINGER_TIME, peer, input: Input::Frames }
    }

    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn poll<T>(
        &mut self,
        io: &mut T,
        reader: &mut Reader,
        writer: &mut Writer,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Done>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if now >= self.deadline {
            return Poll::Ready(Done);
        }
        let mut available = self.drain(io, reader, cx);
        loop {
            let step = match self.step {
                Step::Flush => match flush(io, writer, cx) {
                    Poll::Ready(Ok(())) => Step::Shutdown,
                    Poll::Ready(Err(Done)) => return Poll::Ready(Done),
                    Poll::Pending => return Poll::Pending,
                },
                Step::Shutdown => match Pin::new(&mut *io).poll_close(cx) {
                    Poll::Ready(Ok(())) => {
                        self.deadline = now + LINGER_TIME;
                        Step::Drain
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Done),
                    Poll::Pending => return Poll::Pending,
                },
                Step::Drain => {
                    let over = match self.peer {
                        Peer::Eof => true,
                        Peer::GoneAway => available == Available::Nothing,
                        Peer::Open => false,
                    };
                    return if over { Poll::Ready(Done) } else { Poll::Pending };
                }
            };
            self.step = step;
            available = self.drain(io, reader, cx);
        }
    }

    /// Reads and discards. This goes on while writing, too: a peer that must write before it reads is not held up.
    fn drain<T: AsyncRead + Unpin>(&mut self, io: &mut T, reader: &mut Reader, cx: &mut Context<'_>) -> Available {
        let mut left = POLL_READ_BYTES;
        while self.peer != Peer::Eof {
            self.find_go_away(reader);
            match reader.poll_fill(io, usize::MAX, cx) {
                Poll::Ready(Ok(read @ 1..)) if read < left => left = left.saturating_sub(read),
                Poll::Ready(Ok(1..)) => {
                    cx.waker().wake_by_ref();
                    return Available::More;
                }
                Poll::Ready(Ok(0) | Err(_)) => self.peer = Peer::Eof,
                Poll::Pending => break,
            }
        }
        Available::Nothing
    }

    /// Looks for a go-away in what was read.
    fn find_go_away(&mut self, reader: &mut Reader) {
        while self.input == Input::Frames {
            match reader.next() {
                Ok(Some(Frame::Header(Header::GoAway { .. }))) => self.peer = Peer::GoneAway,
                Ok(Some(Frame::Header(Header::Data { .. } | Header::WindowUpdate { .. }))) => self.peer = Peer::Open,
                Ok(Some(Frame::Header(Header::Ping { .. }) | Frame::Body(_))) => {}
                Ok(None) => return reader.rewind(),
                Err(_) => self.input = Input::Invalid,
            }
        }
        reader.discard();
    }
}

fn flush<T: AsyncWrite + Unpin>(io: &mut T, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<Result<(), Done>> {
    let written = match writer.poll_write(io, &mut false, cx) {
        Poll::Ready(Ok(_)) => writer.poll_flush(io, cx),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    };
    written.map_err(|_| Done)
}
