//! Owns [`LastWords`]: how a connection leaves its transport, so that the peer gets to read why.
//!
//! What is queued is written and flushed, the write side is shut, and what the peer still sends is read and thrown
//! away: a transport that is closed with bytes unread may destroy the go-away on its way (Y-CLOSE-2, Y-CLOSE-3).

use super::reader::Reader;
use super::writer::Writer;
use crate::proto::limits::{LAST_WORDS, POLL_READ_BYTES};
use crate::wire::{Frame, Header};
use futures::{AsyncRead, AsyncWrite};
use std::pin::Pin;
use std::task::{Context, Poll};
use web_time::Instant;

#[derive(Debug)]
pub(super) struct LastWords {
    step: Step,
    deadline: Instant,
    peer: Peer,
    /// Whether what the peer sends can be told apart.
    frames: Frames,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Write and flush what is queued.
    Speak,
    /// Shut the write side.
    Shut,
    /// Read until the peer has shut its side too, or has said that it goes away.
    Listen,
}

/// What is known of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It may go on.
    Talks,
    /// It has said that it goes away, and nothing on a stream since (Y-CLOSE-13).
    Left,
    /// Its side of the transport has ended.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    Legal,
    Garbled,
}

/// Whether the transport has anything to read at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    Nothing,
    More,
}

/// Nothing more can or need be done with the transport.
#[derive(Debug)]
pub(super) struct Gone;

#[expect(clippy::arithmetic_side_effects, reason = "an instant a second from now can be told")]
impl LastWords {
    pub(super) fn new(peer: Peer, now: Instant) -> Self {
        Self { step: Step::Speak, deadline: now + LAST_WORDS, peer, frames: Frames::Legal }
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
    ) -> Poll<Gone>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if now >= self.deadline {
            return Poll::Ready(Gone);
        }
        let mut incoming = self.listen(io, reader, cx);
        loop {
            let step = match self.step {
                Step::Speak => match speak(io, writer, cx) {
                    Poll::Ready(Ok(())) => Step::Shut,
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Gone),
                    Poll::Pending => return Poll::Pending,
                },
                Step::Shut => match Pin::new(&mut *io).poll_close(cx) {
                    Poll::Ready(Ok(())) => {
                        self.deadline = now + LAST_WORDS;
                        Step::Listen
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Gone),
                    Poll::Pending => return Poll::Pending,
                },
                Step::Listen => {
                    let over = match self.peer {
                        Peer::Gone => true,
                        Peer::Left => incoming == Incoming::Nothing,
                        Peer::Talks => false,
                    };
                    return if over { Poll::Ready(Gone) } else { Poll::Pending };
                }
            };
            self.step = step;
            incoming = self.listen(io, reader, cx);
        }
    }

    /// Reads and throws away, also while writing: a peer that must write before it reads gets on.
    fn listen<T: AsyncRead + Unpin>(&mut self, io: &mut T, reader: &mut Reader, cx: &mut Context<'_>) -> Incoming {
        let mut left = POLL_READ_BYTES;
        while self.peer != Peer::Gone {
            self.look(reader);
            match reader.poll_fill(io, usize::MAX, cx) {
                Poll::Ready(Ok(read @ 1..)) if read < left => left = left.saturating_sub(read),
                Poll::Ready(Ok(1..)) => {
                    cx.waker().wake_by_ref();
                    return Incoming::More;
                }
                Poll::Ready(Ok(0) | Err(_)) => self.peer = Peer::Gone,
                Poll::Pending => break,
            }
        }
        Incoming::Nothing
    }

    /// Looks for a go-away in what was read.
    fn look(&mut self, reader: &mut Reader) {
        while self.frames == Frames::Legal {
            match reader.next() {
                Ok(Some(Frame::Header(Header::GoAway { .. }))) => self.peer = Peer::Left,
                Ok(Some(Frame::Header(Header::Data { .. } | Header::WindowUpdate { .. }))) => self.peer = Peer::Talks,
                Ok(Some(Frame::Header(Header::Ping { .. }) | Frame::Body(_))) => {}
                Ok(None) => return reader.rewind(),
                Err(_) => self.frames = Frames::Garbled,
            }
        }
        reader.discard();
    }
}

fn speak<T: AsyncWrite + Unpin>(io: &mut T, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
    let written = match writer.poll_write(io, &mut false, cx) {
        Poll::Ready(Ok(_)) => writer.poll_flush(io, cx),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    };
    written.map_err(|_| Gone)
}
