//! A transport whose calls are recorded, and one of which goes wrong.

use crate::support::Pipe;
use futures::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How many calls move a byte each once a transport has become [bytewise](Flaw::Bytewise).
const BYTES: usize = 2_000;

/// A call to the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Flush,
    Close,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It fails.
    Fails(io::ErrorKind),
    /// A read says that the transport has ended, a write that it took nothing. A flush and a close do what they should.
    Nothing,
    /// Neither it nor a later one ever completes, or wakes anybody.
    Stalls,
    /// No read completes from here on.
    Silent,
    /// It moves one byte.
    OneByte,
    /// It and many after it move one byte each.
    Bytewise,
}

/// The call of this number goes wrong; they are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: usize,
    pub flaw: Flaw,
}

impl Fault {
    /// What is wrong with the call of this number.
    fn strikes(self, number: usize, call: Call) -> Option<Flaw> {
        let strikes = match self.flaw {
            Flaw::Fails(_) | Flaw::Nothing | Flaw::OneByte => number == self.at,
            Flaw::Stalls => number >= self.at,
            Flaw::Silent => number >= self.at && call == Call::Read,
            Flaw::Bytewise => (self.at..self.at + BYTES).contains(&number),
        };
        strikes.then_some(self.flaw)
    }
}

/// The calls so far, in order.
#[derive(Clone, Debug, Default)]
pub struct Calls(Rc<RefCell<Vec<Call>>>);

impl Calls {
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn all(&self) -> Vec<Call> {
        self.0.borrow().clone()
    }
}

pub struct Flawed {
    io: Pipe,
    fault: Option<Fault>,
    calls: Calls,
}

impl Flawed {
    pub fn new(io: Pipe, fault: Option<Fault>) -> Self {
        Self { io, fault, calls: Calls::default() }
    }

    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Counts a call, and says what is wrong with it.
    fn flaw(&self, call: Call) -> Option<Flaw> {
        let mut calls = self.calls.0.borrow_mut();
        calls.push(call);
        self.fault.and_then(|fault| fault.strikes(calls.len() - 1, call))
    }
}

/// What a call that moves bytes does: it is over, or moves at most so many.
fn bytes(flaw: Option<Flaw>, all: usize) -> Result<usize, Poll<io::Result<usize>>> {
    match flaw {
        Some(Flaw::Fails(kind)) => Err(Poll::Ready(Err(kind.into()))),
        Some(Flaw::Nothing) => Err(Poll::Ready(Ok(0))),
        Some(Flaw::Stalls | Flaw::Silent) => Err(Poll::Pending),
        Some(Flaw::OneByte | Flaw::Bytewise) => Ok(1),
        None => Ok(all),
    }
}

/// What a call that moves none does, unless it does what it should.
fn effect(flaw: Option<Flaw>) -> Option<Poll<io::Result<()>>> {
    match flaw {
        Some(Flaw::Fails(kind)) => Some(Poll::Ready(Err(kind.into()))),
        Some(Flaw::Stalls) => Some(Poll::Pending),
        Some(Flaw::Nothing | Flaw::Silent | Flaw::OneByte | Flaw::Bytewise) | None => None,
    }
}

impl AsyncRead for Flawed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match bytes(self.flaw(Call::Read), buf.len()) {
            Ok(len) => Pin::new(&mut self.io).poll_read(cx, &mut buf[..len]),
            Err(result) => result,
        }
    }
}

impl AsyncWrite for Flawed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bytes(self.flaw(Call::Write), bufs.iter().map(|buf| buf.len()).sum()) {
            Ok(len) => {
                let joined: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(len).collect();
                Pin::new(&mut self.io).poll_write(cx, &joined)
            }
            Err(result) => result,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match effect(self.flaw(Call::Flush)) {
            Some(result) => result,
            None => Pin::new(&mut self.io).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match effect(self.flaw(Call::Close)) {
            Some(result) => result,
            None => Pin::new(&mut self.io).poll_close(cx),
        }
    }
}
