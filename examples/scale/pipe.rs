//! A pipe in memory: two ends, and a buffer of fixed size each way, so that its memory is known.

use futures::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One end of a pipe.
pub(crate) struct Pipe {
    incoming: Arc<Way>,
    outgoing: Arc<Way>,
}

/// One direction.
struct Way {
    room: usize,
    flow: Mutex<Flow>,
}

struct Flow {
    bytes: VecDeque<u8>,
    /// An end has been closed or dropped.
    is_over: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A pipe that holds up to `room` bytes each way.
pub(crate) fn pipe(room: usize) -> (Pipe, Pipe) {
    let (one, other) = (Arc::new(Way::new(room)), Arc::new(Way::new(room)));
    let far = Pipe { incoming: other.clone(), outgoing: one.clone() };
    (Pipe { incoming: one, outgoing: other }, far)
}

impl Way {
    fn new(room: usize) -> Self {
        let bytes = VecDeque::with_capacity(room);
        Self { room, flow: Mutex::new(Flow { bytes, is_over: false, reader: None, writer: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut flow = self.lock();
        flow.is_over = true;
        let waiting = [flow.reader.take(), flow.writer.take()];
        drop(flow);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut flow = self.incoming.lock();
        if flow.bytes.is_empty() && !flow.is_over {
            flow.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // The bytes may lie in two pieces.
        let first = flow.bytes.read(buf)?;
        let second = flow.bytes.read(&mut buf[first..])?;
        let waiting = flow.writer.take();
        drop(flow);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(first + second))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut flow = self.outgoing.lock();
        if flow.is_over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let before = flow.bytes.len();
        for piece in pieces {
            let left = self.outgoing.room - flow.bytes.len();
            flow.bytes.extend(&piece[..piece.len().min(left)]);
        }
        let written = flow.bytes.len() - before;
        if written == 0 {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let waiting = flow.reader.take();
        drop(flow);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.end();
    }
}
