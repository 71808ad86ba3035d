//! [`Watched`]: a stream whose every poll the oracle sees.

use crate::end::End;
use crate::oracle::Oracle;
use futures::{AsyncRead, AsyncWrite};
use sluicegate::Stream;
use std::cell::RefMut;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub struct Watched {
    stream: Stream,
    end: Rc<End>,
}

impl Watched {
    pub fn new(stream: Stream, end: &Rc<End>) -> Self {
        Self { stream, end: end.clone() }
    }

    pub fn id(&self) -> u32 {
        self.stream.id()
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    pub fn reset(&mut self, code: u32) {
        let (side, id) = (self.end.side, self.id());
        let mut oracle = self.end.oracle();
        let record = oracle.record(side, id);
        record.reset = record.reset.or(Some(code));
        drop(oracle);
        self.stream.reset(code);
    }

    pub fn close_read(&mut self) {
        let (side, id) = (self.end.side, self.id());
        self.end.oracle().record(side, id).stopped = true;
        self.stream.close_read();
    }

    fn parts(&mut self) -> (Pin<&mut Stream>, RefMut<'_, Oracle>, usize, u32) {
        let id = self.stream.id();
        (Pin::new(&mut self.stream), self.end.oracle(), self.end.side, id)
    }

    fn on_write_error(&self, closing: bool, error: &io::Error) {
        let now = self.end.world.now();
        self.end.oracle().on_write_error(self.end.side, self.id(), closing, error, now);
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let now = this.end.world.now();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let (_, mut oracle, side, id) = this.parts();
        oracle.record(side, id).tried = true;
        match &polled {
            Poll::Ready(Ok(0)) if buf.is_empty() => {}
            Poll::Ready(Ok(0)) => oracle.on_eof(side, id),
            Poll::Ready(Ok(len)) => oracle.on_read(side, id, &buf[..*len]),
            Poll::Ready(Err(error)) => oracle.on_read_error(side, id, error, now),
            Poll::Pending => {}
        }
        drop(oracle);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        let (_, mut oracle, side, id) = this.parts();
        let record = oracle.record(side, id);
        record.tried = true;
        match &polled {
            Poll::Ready(Ok(len)) => {
                assert!(*len > 0 || buf.is_empty(), "end {side} stream {id}: a write takes nothing");
                record.written += *len as u64;
                record.cut = *len < buf.len();
            }
            Poll::Ready(Err(error)) => {
                record.cut = true;
                drop(oracle);
                this.on_write_error(false, error);
            }
            Poll::Pending => record.cut = true,
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        let (_, mut oracle, side, id) = this.parts();
        let record = oracle.record(side, id);
        record.tried = true;
        match &polled {
            Poll::Ready(Ok(())) => record.flushed = record.written,
            Poll::Ready(Err(error)) => {
                drop(oracle);
                this.on_write_error(false, error);
            }
            Poll::Pending => {}
        }
        polled
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let now = this.end.world.now();
        {
            let (_, mut oracle, side, id) = this.parts();
            let moment = oracle.moment(now);
            oracle.record(side, id).finishing.get_or_insert(moment);
        }
        let polled = Pin::new(&mut this.stream).poll_close(cx);
        match &polled {
            Poll::Ready(Ok(())) => {
                let (_, mut oracle, side, id) = this.parts();
                oracle.record(side, id).finished = true;
            }
            Poll::Ready(Err(error)) => this.on_write_error(true, error),
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (unread, now) = (self.stream.stats().unread, self.end.world.now());
        let (_, mut oracle, side, id) = self.parts();
        let moment = oracle.moment(now);
        let written = oracle.record(1 - side, id).written;
        let record = oracle.record(side, id);
        let means = record.drop_means(unread, written, std::thread::panicking());
        record.dropped = Some((moment, means));
    }
}
