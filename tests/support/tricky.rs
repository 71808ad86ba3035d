//! A transport that does what transports may do, or fails as they do, and counts how often it is called.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use crate::support::Pipe;
use futures::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

/// How writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Plain,
    /// One byte a call.
    Bytewise,
    /// Of a vectored write only the first slice.
    FirstSlice,
    /// Nothing leaves before the flush.
    OnFlush,
    /// Every other call waits without need.
    OftenPending,
}

/// What goes wrong from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ReadFails,
    WriteFails,
    FlushFails,
    WriteStalls,
    FlushStalls,
    /// `Ok(0)`.
    WritesNothing,
}

/// How often the transport was called, and the switch that breaks it.
#[derive(Debug, Default)]
pub struct Calls {
    all: AtomicUsize,
    writes: AtomicUsize,
    fault: Mutex<Option<Fault>>,
    /// A write has failed.
    failed: AtomicUsize,
}

impl Calls {
    pub fn all(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub fn break_with(&self, fault: Fault) {
        *self.fault.lock().expect("no panic") = Some(fault);
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().expect("no panic")
    }
}

pub struct Tricky {
    io: Pipe,
    write: Write,
    held: Vec<u8>,
    calls: Arc<Calls>,
    pub reads_one_by_one: bool,
    /// Nothing can be read before a write has failed.
    pub reads_after_fault: bool,
    turn: bool,
}

impl Tricky {
    pub fn new(io: Pipe, write: Write) -> Self {
        let calls = Arc::default();
        Self { io, write, held: Vec::new(), calls, reads_one_by_one: false, reads_after_fault: false, turn: false }
    }

    pub fn calls(&self) -> Arc<Calls> {
        self.calls.clone()
    }

    fn count(&self) -> Option<Fault> {
        self.calls.all.fetch_add(1, Ordering::Relaxed);
        self.calls.fault()
    }

    /// Whether to wait this time, where that is what the transport does.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        self.turn = !self.turn;
        let waits = self.write == Write::OftenPending && self.turn;
        if waits {
            cx.waker().wake_by_ref();
        }
        waits
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))?;
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Tricky {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.count() == Some(Fault::ReadFails) {
            return Poll::Ready(Err(io::Error::other("read")));
        }
        if self.reads_after_fault && self.calls.failed.load(Ordering::Relaxed) == 0 {
            return Poll::Pending;
        }
        let len = if self.reads_one_by_one { buf.len().min(1) } else { buf.len() };
        Pin::new(&mut self.io).poll_read(cx, &mut buf[..len])
    }
}

impl AsyncWrite for Tricky {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.calls.writes.fetch_add(1, Ordering::Relaxed);
        match self.count() {
            Some(Fault::WriteFails) => {
                self.calls.failed.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Err(io::Error::other("write")));
            }
            Some(Fault::WriteStalls) => return Poll::Pending,
            Some(Fault::WritesNothing) => return Poll::Ready(Ok(0)),
            _ => {}
        }
        if self.waits(cx) {
            return Poll::Pending;
        }
        match self.write {
            Write::Bytewise => Pin::new(&mut self.io).poll_write(cx, &buf[..buf.len().min(1)]),
            Write::OnFlush => {
                self.held.extend_from_slice(buf);
                Poll::Ready(Ok(buf.len()))
            }
            Write::Plain | Write::FirstSlice | Write::OftenPending => Pin::new(&mut self.io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = match self.write {
            Write::FirstSlice => bufs[0].to_vec(),
            _ => bufs.iter().flat_map(|buf| buf.iter().copied()).collect(),
        };
        self.poll_write(cx, &all)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.count() {
            Some(Fault::FlushFails) => return Poll::Ready(Err(io::Error::other("flush"))),
            Some(Fault::FlushStalls) => return Poll::Pending,
            _ => {}
        }
        if self.waits(cx) {
            return Poll::Pending;
        }
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.count();
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}
