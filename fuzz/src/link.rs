//! Transports in memory, polled by hand: how much they take and give is decided from outside.

use futures::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
pub struct Way {
    pub bytes: VecDeque<u8>,
    /// How many may be read, and how many more may be written.
    pub readable: usize,
    pub room: usize,
    pub ended: bool,
}

/// One end: it reads from one way and writes to the other.
#[derive(Clone, Debug, Default)]
pub struct Link {
    inbound: Arc<Mutex<Way>>,
    outbound: Arc<Mutex<Way>>,
}

impl Link {
    /// Two ends of one link.
    pub fn pair() -> (Self, Self) {
        let near = Self::default();
        let far = Self { inbound: near.outbound.clone(), outbound: near.inbound.clone() };
        (near, far)
    }

    pub fn inbound(&self) -> MutexGuard<'_, Way> {
        lock(&self.inbound)
    }

    pub fn outbound(&self) -> MutexGuard<'_, Way> {
        lock(&self.outbound)
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut way = self.inbound();
        let len = buf.len().min(way.readable).min(way.bytes.len());
        if len == 0 {
            let over = way.ended && way.bytes.is_empty();
            return if over { Poll::Ready(Ok(0)) } else { Poll::Pending };
        }
        way.readable -= len;
        buf.iter_mut().zip(way.bytes.drain(..len)).for_each(|(to, from)| *to = from);
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut way = self.outbound();
        let len = buf.len().min(way.room);
        if len == 0 {
            return Poll::Pending;
        }
        way.room -= len;
        way.bytes.extend(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound().ended = true;
        Poll::Ready(Ok(()))
    }
}
