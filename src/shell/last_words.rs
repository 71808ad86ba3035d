//! Owns [`LastWords`]: how a connection leaves its transport, so that the peer gets to read why.
//!
//! What is queued is written and flushed, the write side is shut, and what the peer still sends is read and thrown
//! away: a transport that is closed with bytes unread may destroy the go-away on its way (Y-CLOSE-2, Y-CLOSE-3).

use super::reader::Reader;
use super::writer::Writer;
use crate::proto::limits::LAST_WORDS;
use futures::{AsyncRead, AsyncWrite};
use std::pin::Pin;
use std::task::{Context, Poll};
use web_time::Instant;

#[derive(Debug)]
pub(super) struct LastWords {
    step: Step,
    deadline: Instant,
    reading: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Write and flush what is queued.
    Speak,
    /// Shut the write side.
    Shut,
    /// Read until the peer has shut its side too.
    Listen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    Ended,
}

/// Nothing more can or need be done with the transport.
#[derive(Debug)]
pub(super) struct Gone;

#[expect(clippy::arithmetic_side_effects, reason = "an instant a second from now can be told")]
impl LastWords {
    /// `ended` where the peer's side of the transport has ended.
    pub(super) fn new(ended: bool, now: Instant) -> Self {
        let reading = if ended { Reading::Ended } else { Reading::Open };
        Self { step: Step::Speak, deadline: now + LAST_WORDS, reading }
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
        self.listen(io, reader, cx);
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
                Step::Listen if self.reading == Reading::Ended => return Poll::Ready(Gone),
                Step::Listen => return Poll::Pending,
            };
            self.step = step;
            self.listen(io, reader, cx);
        }
    }

    /// Reads and throws away, also while writing: a peer that must write before it reads gets on.
    fn listen<T: AsyncRead + Unpin>(&mut self, io: &mut T, reader: &mut Reader, cx: &mut Context<'_>) {
        let mut left = crate::proto::limits::POLL_READ_BYTES;
        while self.reading == Reading::Open {
            reader.discard();
            match reader.poll_fill(io, cx) {
                Poll::Ready(Ok(read @ 1..)) if read < left => left = left.saturating_sub(read),
                Poll::Ready(Ok(1..)) => {
                    cx.waker().wake_by_ref();
                    return;
                }
                Poll::Ready(Ok(0) | Err(_)) => self.reading = Reading::Ended,
                Poll::Pending => return,
            }
        }
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
