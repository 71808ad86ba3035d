//! The read half: chunks that arrived, returned whole or copied piece by piece. Credit is reported to the core when it is due,
//! not with every read.

use super::{Stream, exceeded};
use crate::counting::{count_down, count_up};
#[cfg(feature = "libp2p")]
use crate::error::Side;
use crate::proto::{ReadError, Readiness, Taken};
use bytes::Bytes;
use futures::{AsyncBufRead, AsyncRead};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes, and they have been copied.
    Copied(usize),
    /// Chunks that have been taken.
    Chunks,
    /// Nothing: the peer has finished.
    End,
}

impl Stream {
    /// The next bytes as they arrived, without copying them; `None` at the end of the stream. What is held of them is
    /// the application's own memory from here on: it counts as read.
    ///
    /// A piece lies in a block of 512 bytes to 8 KiB, which is freed with the last `Bytes` of it. So a few bytes that are kept
    /// can hold 8 KiB: copy what is small and kept for long (`Bytes::copy_from_slice`).
    ///
    /// # Errors
    ///
    /// As for reading.
    pub fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let more = ready!(self.poll_chunks(cx))?;
        let chunk = if more { self.chunks.pop() } else { None };
        if self.negotiates() {
            #[cfg(feature = "libp2p")]
            self.observe(Side::Remote, chunk.as_deref().unwrap_or_default());
        } else {
            self.usage.read |= chunk.is_some();
        }
        self.report(chunk.as_ref().map_or(0, Bytes::len), chunk.is_some());
        Poll::Ready(Ok(chunk))
    }

    /// Waits for [`poll_read_bytes`](Self::poll_read_bytes). Giving up loses nothing.
    ///
    /// # Errors
    ///
    /// As for reading.
    pub async fn read_bytes(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_read_bytes(cx)).await
    }

    /// Hands out up to `most` bytes of the chunks that were taken, piece by piece.
    pub(crate) fn hand_out(&mut self, most: usize, mut to: impl FnMut(&[u8])) -> usize {
        let (mut read, mut ended) = (0, false);
        while read < most && !self.chunks.is_empty() {
            let chunk = self.chunks.first();
            let amt = chunk.len().min(count_down(most, read));
            to(chunk.get(..amt).unwrap_or(chunk));
            ended |= self.used(amt);
            read = count_up(amt, read);
        }
        self.report(read, ended);
        read
    }

    /// `amt` bytes of the first chunk have been read; says whether that was the rest of it.
    fn used(&mut self, amt: usize) -> bool {
        if self.negotiates() {
            #[cfg(feature = "libp2p")]
            self.observe(Side::Remote, &self.chunks.first().slice(..amt));
        } else {
            self.usage.read |= amt > 0;
        }
        self.chunks.advance(amt)
    }

    /// Bytes have been read, and perhaps the last of a chunk. The core is told when that makes credit due, not with every
    /// read; and when chunks are held no more that something is reserved for.
    fn report(&mut self, amt: usize, ends_chunk: bool) {
        self.unreported = self.unreported.saturating_add(u32::try_from(amt).unwrap_or(u32::MAX));
        // Y-MEM-13: nothing more arrives, or may not any more.
        let over = ends_chunk && (self.due == 0 || self.shared.ends_with_held() != self.ends);
        if over || self.due > 0 && self.unreported >= self.due {
            let unreported = std::mem::take(&mut self.unreported);
            let (key, chunks, now) = (self.key, &mut self.chunks, self.shared.now());
            (self.due, self.ends) = self.shared.with(|inner| {
                inner.mux.consume(key, unreported, now);
                inner.mux.reuse(chunks);
                let over = inner.mux.returned(key, chunks.memory());
                (if over { 0 } else { u32::MAX }, inner.mux.ends_with_held())
            });
        } else if ends_chunk && self.chunks.is_empty() {
            // The caller may know that no more will come, and not read again.
            let (key, chunks) = (self.key, &mut self.chunks);
            self.shared.with(|inner| {
                inner.mux.reuse(chunks);
                inner.mux.returned(key, 0);
            });
        }
    }

    /// Makes sure that there is something to read; `false` at the end of the stream.
    pub(crate) fn poll_chunks(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Nothing fits into nothing.
        self.poll_get(&mut [], cx).map_ok(|got| got != Got::End)
    }

    /// Gets something to read: all there is, where that is little and fits into `buf`, or chunks.
    pub(crate) fn poll_get(&mut self, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<Got>> {
        let got = ready!(self.poll_take(buf, cx))?;
        if let Got::Copied(read) = got {
            if self.negotiates() {
                #[cfg(feature = "libp2p")]
                self.observe(Side::Remote, buf.get(..read).unwrap_or(buf));
            } else {
                self.usage.read |= read > 0;
            }
        }
        Poll::Ready(Ok(got))
    }

    fn poll_take(&mut self, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<Got>> {
        if let Some(waits) = &self.waits {
            if waits.deadlines.is_reset() {
                // Y-RST-8: nothing of it is read any more.
                self.unreported = self.take_unread();
            } else if waits.deadlines.read().has_passed(self.shared.time()) {
                return Poll::Ready(exceeded());
            }
        }
        if !self.chunks.is_empty() {
            return Poll::Ready(Ok(Got::Chunks));
        }
        let (key, unreported, chunks, ends) = (self.key, &mut self.unreported, &mut self.chunks, &mut self.ends);
        let now = (*unreported > 0).then(|| self.shared.now());
        let got = ready!(self.shared.poll_with(&mut self.lock_attempts, cx, |inner| {
            if let Some(now) = now {
                inner.mux.consume(key, std::mem::take(unreported), now);
            }
            if let Some((read, taken)) = inner.mux.read_small(key, buf) {
                return Ok((Got::Copied(read), taken));
            }
            *ends = inner.mux.ends_with_held();
            let taken = inner.mux.read(key, chunks);
            if let Err(ReadError::Blocked) = taken {
                inner.park_stream(key, Readiness::READ, cx);
            }
            taken.map(|taken| (Got::Chunks, taken))
        }));
        match got {
            Ok((got, Taken::Bytes { due })) => {
                self.due = due;
                if let Got::Copied(read) = got {
                    self.report(read, false);
                }
                Poll::Ready(Ok(got))
            }
            Ok((_, Taken::End)) => Poll::Ready(Ok(Got::End)),
            Err(ReadError::Failed(error)) => Poll::Ready(Err(error.into())),
            Err(ReadError::Blocked) => match &mut self.waits {
                Some(waits) => {
                    waits.deadlines.read().poll_passed(self.shared.time(), &mut waits.read, cx).map(|()| exceeded())
                }
                None => Poll::Pending,
            },
        }
    }
}

impl AsyncRead for Stream {
    /// Reads at least one byte, or `Ok(0)` at the end of the stream. An empty `buf` is `Ok(0)` at once.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Poll::Ready(Ok(match ready!(self.poll_get(buf, cx))? {
            Got::End => 0,
            Got::Copied(read) => read,
            Got::Chunks => {
                let mut room = &mut *buf;
                self.hand_out(room.len(), |piece| {
                    let (filled, rest) = std::mem::take(&mut room).split_at_mut(piece.len());
                    filled.copy_from_slice(piece);
                    room = rest;
                })
            }
        }))
    }
}

impl AsyncBufRead for Stream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_chunks(cx))?;
        Poll::Ready(Ok(this.chunks.first()))
    }

    /// More than [`poll_fill_buf`](AsyncBufRead::poll_fill_buf) gave counts as all of it.
    fn consume(mut self: Pin<&mut Self>, amt: usize) {
        if self.chunks.is_empty() {
            return;
        }
        let amt = amt.min(self.chunks.first().len());
        let ended = self.used(amt);
        self.report(amt, ended);
    }
}
