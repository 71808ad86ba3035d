//! The write half: bytes are copied into the connection's send buffers, then flushed and finished. Memory for larger send buffers
//! is reserved outside the lock.

use super::{Stream, exceeded};
#[cfg(feature = "libp2p")]
use crate::error::Side;
use crate::memory::Reservation;
use crate::proto::{FlushError, Key, Mux, Readiness, WriteError};
use futures::AsyncWrite;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl Stream {
    /// Reserves more memory for the connection's send buffers, outside the lock.
    fn grow_pool(&self, bytes: usize) -> bool {
        let priority = self.shared.with(|inner| inner.mux.priority(self.key)).unwrap_or_default();
        match Reservation::new(self.shared.memory(), bytes, priority) {
            Ok(reservation) => {
                self.shared.with(|inner| inner.mux.grow_pool(reservation));
                true
            }
            Err(_) => {
                let now = self.shared.now();
                self.shared.with(|inner| inner.mux.room_refused(self.key, priority, now));
                false
            }
        }
    }

    fn try_write(&mut self, cx: &Context<'_>, buf: &[u8]) -> Poll<Result<usize, WriteError>> {
        // The clock may be slow: it is read before the lock is taken.
        let now = self.shared.now();
        self.shared.poll_with(&mut self.lock_attempts, cx, |inner| {
            let result = inner.mux.write(self.key, buf, now);
            if let Err(WriteError::Blocked { .. }) = result {
                inner.park_stream(self.key, Readiness::WRITE, cx);
            }
            result
        })
    }

    fn poll_flushed(
        &mut self,
        result: impl FnOnce(&mut Mux, Key) -> Result<(), FlushError>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (key, unreported) = (self.key, &mut self.unreported);
        let result = ready!(self.shared.poll_with(&mut self.lock_attempts, cx, |inner| {
            if inner.mux.closed().is_some() {
                // What was read counts as read, though the end behind it was not read.
                inner.mux.consume_late(key, std::mem::take(unreported));
            }
            let result = result(&mut inner.mux, key);
            if let Err(FlushError::Blocked) = result {
                inner.park_stream(key, Readiness::FLUSH, cx);
            }
            result
        }));
        match result {
            Ok(()) => Poll::Ready(Ok(())),
            Err(FlushError::Failed(error)) => Poll::Ready(Err(error.into())),
            Err(FlushError::Blocked) => self.poll_write_deadline(cx),
        }
    }

    /// A write, a flush or a close has to wait, at most until its deadline.
    fn poll_write_deadline<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        match &mut self.waits {
            Some(waits) => {
                waits.deadlines.write().poll_passed(self.shared.time(), &mut waits.write, cx).map(|()| exceeded())
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    /// Takes as many bytes as the peer has given credit for and the connection has memory for; pending while that is
    /// none. What was taken goes out, also if the stream is dropped, unless this was pending or took less than `buf`: then
    /// a drop is a reset. An empty `buf` is `Ok(0)` at once while the write half is open, and fails as any write does after
    /// that: with `BrokenPipe` after a close.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Y-DROP-6: until all of it has been taken, whatever keeps it from that.
        let before = std::mem::replace(&mut self.usage.cut, true);
        if buf.is_empty() {
            self.usage.cut = before;
        } else if self.waits.as_ref().is_some_and(|waits| waits.deadlines.write().has_passed(self.shared.time())) {
            return Poll::Ready(exceeded());
        }
        let mut result = ready!(self.try_write(cx, buf));
        while let Err(WriteError::Blocked { growth: Some(bytes) }) = result {
            if !self.grow_pool(bytes) {
                break;
            }
            result = ready!(self.try_write(cx, buf));
        }
        match result {
            Ok(written) => {
                if !buf.is_empty() {
                    self.usage.cut = written < buf.len();
                }
                if self.negotiates() {
                    #[cfg(feature = "libp2p")]
                    self.observe(Side::Local, buf.get(..written).unwrap_or(buf));
                } else {
                    self.usage.wrote |= written > 0;
                }
                Poll::Ready(Ok(written))
            }
            Err(WriteError::Failed(error)) => Poll::Ready(Err(error.into())),
            Err(WriteError::Blocked { .. }) => self.poll_write_deadline(cx),
        }
    }

    /// As [`poll_write`](AsyncWrite::poll_write), with the first of `bufs` that is not empty.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        let written = ready!(self.as_mut().poll_write(cx, first))?;
        // It was offered all of them.
        self.usage.cut |= written < bufs.iter().map(|buf| buf.len()).sum();
        Poll::Ready(Ok(written))
    }

    /// Ready when everything written has been handed to the transport, and the transport was flushed after it. On a
    /// stream that has said nothing yet, it lets the peer know of the stream.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(Mux::flush, cx)
    }

    /// Finishes the write half; ready when its FIN was flushed. Reading goes on. Closing again is `Ok`.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.usage.closed = true;
        let now = self.shared.now();
        self.poll_flushed(|mux, key| mux.finish(key, now), cx)
    }
}
