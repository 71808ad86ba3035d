//! A transport that has all its bytes, and gives away as many at a time as a socket would.

use crate::kinds::{Kind, Reads};
use futures::{AsyncRead, AsyncWrite};
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub(crate) struct Feed {
    bytes: Vec<u8>,
    reads: Reads,
    /// Bytes to give before the task has to be polled again.
    at_once: usize,
    given: usize,
    /// What is left of that.
    left: usize,
    /// How many of the bytes have arrived so far.
    arrived: Rc<Cell<usize>>,
}

impl Feed {
    pub(crate) fn new(kind: &Kind, bytes: Vec<u8>, arrived: Rc<Cell<usize>>) -> Self {
        Self { bytes, reads: kind.reads, at_once: kind.at_once, given: 0, left: kind.at_once, arrived }
    }

    /// Whether all that has arrived was given.
    pub(crate) fn is_dry(&self) -> bool {
        self.given == self.arrived.get()
    }
}

impl AsyncRead for Feed {
    /// When all is given there is nothing more, but no end either: the peer keeps the connection.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let len = (self.arrived.get() - self.given).min(self.left).min(buf.len());
        if len == 0 {
            if !self.is_dry() {
                cx.waker().wake_by_ref();
            }
            self.left = self.at_once;
            return Poll::Pending;
        }
        buf[..len].copy_from_slice(&self.bytes[self.given..][..len]);
        self.given += len;
        self.left -= len;
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Feed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.reads {
            Reads::Everything => Poll::Ready(Ok(buf.len())),
            Reads::Nothing => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
