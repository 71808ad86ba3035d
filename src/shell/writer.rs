//! Owns [`Writer`]: writes batches to the transport. It has no protocol state and no lock.

use crate::counting::{count_down, count_up};
use bytes::{Buf, Bytes, BytesMut};
use futures::AsyncWrite;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Pieces offered to one vectored write: 16 frames with their headers, and 512 bytes of stack.
const SLICES: usize = 32;

/// Writes a batch, in one call where the transport can.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pieces: VecDeque<Bytes>,
    /// Bytes of bodies in the batch.
    data: usize,
    joined: BytesMut,
    /// Pieces that have been written.
    spent: Vec<Bytes>,
    vectored: Vectored,
    flush: Flush,
}

/// Whether the transport writes several pieces in one call. `AsyncWrite` cannot tell; the first write shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Vectored {
    #[default]
    Unknown,
    Yes,
    /// It writes the first piece and no more: pieces are joined before they are offered.
    No,
}

/// Whether bytes were written since the last flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flush {
    #[default]
    Clean,
    Needed,
}

impl Writer {
    /// Whether the last batch has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that are left of it, headers included.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    pub(super) fn needs_flush(&self) -> bool {
        self.flush == Flush::Needed
    }

    /// Takes a batch in, behind what is left of the last one.
    pub(super) fn load(&mut self, take: impl FnOnce(&mut VecDeque<Bytes>) -> usize) {
        self.data = count_up(self.data, take(&mut self.pieces));
        if self.vectored == Vectored::No && self.pieces.len() > 1 {
            self.joined.reserve(self.pieces.iter().map(Bytes::len).sum());
            self.pieces.iter().for_each(|piece| self.joined.extend_from_slice(piece));
            self.spent.extend(self.pieces.drain(..));
            self.pieces.push_back(self.joined.split().freeze());
        }
    }

    /// Writes until the batch is empty; says then how many bytes of bodies it held. `progress` is set when the
    /// transport takes anything.
    pub(super) fn poll_write<T>(
        &mut self,
        io: &mut T,
        progress: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>>
    where
        T: AsyncWrite + Unpin,
    {
        while let Some(front) = self.pieces.front() {
            let first = front.len();
            let written = ready!(self.poll_some(io, cx))?;
            let offered = self.len();
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if written > offered {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the transport wrote more than it was given",
                )));
            }
            if self.vectored == Vectored::Unknown && self.pieces.len() > 1 {
                self.vectored = match written.cmp(&first) {
                    std::cmp::Ordering::Less => Vectored::Unknown,
                    std::cmp::Ordering::Equal => Vectored::No,
                    std::cmp::Ordering::Greater => Vectored::Yes,
                };
            }
            (*progress, self.flush) = (true, Flush::Needed);
            self.advance(written);
        }
        Poll::Ready(Ok(std::mem::take(&mut self.data)))
    }

    fn poll_some<T: AsyncWrite + Unpin>(&self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match (self.pieces.front(), self.pieces.len()) {
            (Some(front), 1) => Pin::new(io).poll_write(cx, front),
            (Some(_), _) => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let len =
                    slices.iter_mut().zip(&self.pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
                Pin::new(io).poll_write_vectored(cx, slices.get(..len).unwrap_or_default())
            }
            (None, _) => Poll::Ready(Ok(0)),
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.pieces.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written = count_down(written, front.len());
            front.advance(front.len());
            self.spent.extend(self.pieces.pop_front());
        }
    }

    /// The pieces that have been written, for their memory.
    pub(super) fn spent(&mut self) -> std::vec::Drain<'_, Bytes> {
        self.spent.drain(..)
    }

    /// Frees storage while there is nothing to write.
    pub(super) fn shrink(&mut self) {
        if self.pieces.is_empty() {
            (self.pieces, self.joined, self.spent) = (VecDeque::new(), BytesMut::new(), Vec::new());
        }
    }

    /// Flushes what was written.
    pub(super) fn poll_flush<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(io).poll_flush(cx))?;
        self.flush = Flush::Clean;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;

    /// Takes at most `limit` bytes a call; `vectored` or only the first piece.
    struct Sink {
        taken: Vec<u8>,
        calls: usize,
        limit: usize,
        vectored: bool,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let len = buf.len().min(self.limit);
            self.calls += 1;
            self.taken.extend_from_slice(&buf[..len]);
            Poll::Ready(Ok(len))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            if !self.vectored {
                return self.poll_write(cx, &bufs[0]);
            }
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write(writer: &mut Writer, sink: &mut Sink, pieces: &[&'static [u8]]) {
        let waker = noop_waker();
        writer.load(|queue| {
            queue.extend(pieces.iter().map(|piece| Bytes::from_static(piece)));
            7
        });
        let mut progress = false;
        let result = writer.poll_write(sink, &mut progress, &mut Context::from_waker(&waker));
        assert!(matches!(result, Poll::Ready(Ok(7))) && progress && writer.needs_flush());
    }

    #[test]
    fn any_transport_gets_every_byte_in_order() {
        for limit in [1, 2, 3, 5, 1000] {
            for vectored in [false, true] {
                let mut sink = Sink { taken: Vec::new(), calls: 0, limit, vectored };
                let mut writer = Writer::default();
                write(&mut writer, &mut sink, &[b"ab", b"cde", b"f"]);
                write(&mut writer, &mut sink, &[b"gh", b"ijk"]);
                assert_eq!(sink.taken, b"abcdefghijk", "limit {limit} vectored {vectored}");
            }
        }
    }

    #[test]
    fn a_batch_is_one_call_once_the_transport_is_known() {
        for vectored in [false, true] {
            let mut sink = Sink { taken: Vec::new(), calls: 0, limit: 1000, vectored };
            let mut writer = Writer::default();
            write(&mut writer, &mut sink, &[b"ab", b"cde", b"f"]);
            sink.calls = 0;
            write(&mut writer, &mut sink, &[b"ab", b"cde", b"f"]);
            assert_eq!(sink.calls, 1, "vectored {vectored}");
        }
    }

    #[test]
    fn a_transport_that_takes_nothing_is_an_error() {
        let waker = noop_waker();
        let mut sink = Sink { taken: Vec::new(), calls: 0, limit: 0, vectored: true };
        let mut writer = Writer::default();
        writer.load(|queue| {
            queue.push_back(Bytes::from_static(b"x"));
            1
        });
        let result = writer.poll_write(&mut sink, &mut false, &mut Context::from_waker(&waker));
        assert!(matches!(result, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WriteZero));
    }
}
