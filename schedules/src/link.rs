//! `Link`: a transport in memory that wakes no more than it has to. What is written leaves with a flush, as far as there is
//! room; nobody who reads or writes is woken but by the other end.

use futures::{AsyncRead, AsyncWrite};
use shuttle::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// One end. When it is dropped the other one reads the end, and can write no more.
pub struct Link {
    inbound: Arc<Mutex<Way>>,
    outbound: Arc<Mutex<Way>>,
    /// Written and not flushed.
    held: VecDeque<u8>,
    capacity: usize,
}

/// Bytes on their way in one direction.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    state: State,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Nothing more is written.
    Ended,
    /// Nobody reads any more.
    Gone,
}

impl Link {
    /// Two ends of a link that holds `capacity` bytes each way, and as many before they are flushed.
    pub fn pair(capacity: usize) -> (Self, Self) {
        let ways: [Arc<Mutex<Way>>; 2] = Default::default();
        let end = |inbound: &Arc<_>, outbound: &Arc<_>| Self {
            inbound: Arc::clone(inbound),
            outbound: Arc::clone(outbound),
            held: VecDeque::new(),
            capacity,
        };
        (end(&ways[0], &ways[1]), end(&ways[1], &ways[0]))
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().expect("no panic")
}

/// Wakes whoever waited, when the lock is open.
fn wake(mut way: MutexGuard<'_, Way>, whom: impl FnOnce(&mut Way) -> &mut Option<Waker>) {
    let waker = whom(&mut way).take();
    drop(way);
    waker.into_iter().for_each(Waker::wake);
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut way = lock(&self.inbound);
        let len = buf.len().min(way.bytes.len());
        if len == 0 && way.state == State::Open {
            way.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.iter_mut().zip(way.bytes.drain(..len)).for_each(|(to, from)| *to = from);
        wake(way, |way| &mut way.writer);
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.held.len() == self.capacity {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        let len = buf.len().min(self.capacity - self.held.len());
        self.held.extend(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut way = lock(&this.outbound);
        if way.state == State::Gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = this.held.len().min(this.capacity - way.bytes.len());
        way.bytes.extend(this.held.drain(..len));
        let flushed = this.held.is_empty();
        if !flushed {
            way.writer = Some(cx.waker().clone());
        }
        if len > 0 {
            wake(way, |way| &mut way.reader);
        }
        if flushed { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Link {
    fn end(&self) {
        let mut way = lock(&self.outbound);
        if way.state == State::Open {
            way.state = State::Ended;
        }
        wake(way, |way| &mut way.reader);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
        let mut way = lock(&self.inbound);
        way.state = State::Gone;
        wake(way, |way| &mut way.writer);
    }
}
