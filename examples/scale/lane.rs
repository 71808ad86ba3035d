//! One end of one stream: sends a known pattern, and compares every byte that arrives.

use crate::pattern;
use futures::{AsyncBufRead, AsyncWrite};
use sluicegate::Stream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

pub(crate) struct Lane {
    stream: Stream,
    /// The patterns that it sends and expects.
    sends: u64,
    expects: u64,
    sent: u64,
    received: u64,
}

impl Lane {
    pub(crate) fn new(stream: Stream, sends: u64, expects: u64) -> Self {
        let mut lane = Self { stream, sends, expects, sent: 0, received: 0 };
        lane.wait();
        lane
    }

    /// Every idle stream has a waiting reader, as in a program that serves it, without a task for each.
    pub(crate) fn wait(&mut self) {
        let _ = Pin::new(&mut self.stream).poll_fill_buf(&mut Context::from_waker(Waker::noop()));
    }

    /// Bytes received and compared.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Sends and receives; ready when it has sent and received `goal` bytes since the stream was opened.
    pub(crate) fn poll_exchange(&mut self, goal: u64, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_send(goal, cx)?;
        let received = self.poll_receive(goal, cx)?;
        if sent.is_ready() && received.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_send(&mut self, goal: u64, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < goal {
            let left = usize::try_from(goal - self.sent).unwrap_or(usize::MAX);
            let piece = pattern::bytes(self.sends, self.sent, left);
            self.sent += ready!(Pin::new(&mut self.stream).poll_write(cx, piece))? as u64;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, goal: u64, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.received < goal {
            let bytes = ready!(Pin::new(&mut self.stream).poll_fill_buf(cx))?;
            let len = bytes.len();
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let right = pattern::right(self.expects, self.received, bytes);
            if right < len {
                let at = self.received + right as u64;
                return Poll::Ready(Err(io::Error::other(format!("byte {at} of transfer {} is wrong", self.expects))));
            }
            Pin::new(&mut self.stream).consume(len);
            self.received += len as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready, with an error, when anything arrives on a stream that should be silent.
    pub(crate) fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match ready!(Pin::new(&mut self.stream).poll_fill_buf(cx)) {
            Ok(bytes) => Poll::Ready(io::Error::other(format!("{} bytes came on a silent stream", bytes.len()))),
            Err(error) => Poll::Ready(error),
        }
    }
}
