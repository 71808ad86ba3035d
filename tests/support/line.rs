//! A connection on a transport that takes bytes only when the test says so, polled by hand: the place of every byte on
//! the wire is known, and nothing depends on time.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use crate::support::peer::{pong, update};
use futures::task::{ArcWake, waker};
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, FutureExt};
use sluicegate::wire::{Flags, Frame, Header, Parser, PingKind};
use sluicegate::{ConfigBuilder, Connection, Mode, Priority, Stream};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// Bytes of a header.
pub const HEADER: usize = 12;

/// A client, and everything that it has sent.
pub struct Line {
    pub connection: Connection<Throttled>,
    link: Arc<Mutex<Link>>,
}

/// A frame on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub header: Header,
    /// How many bytes have left before it.
    pub at: usize,
}

#[derive(Default)]
struct Link {
    /// Bytes that the transport still takes.
    room: usize,
    sent: Vec<u8>,
    arriving: Vec<u8>,
}

pub struct Throttled(Arc<Mutex<Link>>);

struct Woken(AtomicBool);

impl ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Self>) {
        woken.0.store(true, Ordering::Relaxed);
    }
}

impl Sent {
    /// Of which stream this is data, and how much of it.
    pub fn data(&self) -> Option<(u32, usize)> {
        match self.header {
            Header::Data { id, flags: Flags::NONE, len } => Some((id.value(), len as usize)),
            _ => None,
        }
    }
}

impl Line {
    /// A connection that has asked for the round trip time and knows it.
    pub fn new(config: ConfigBuilder) -> Self {
        let mut line = Self::unanswered(config);
        line.answer_ping();
        line
    }

    /// The same, while the first ping is not answered.
    pub fn unanswered(config: ConfigBuilder) -> Self {
        let link = Arc::new(Mutex::new(Link::default()));
        let connection = Connection::new(Throttled(link.clone()), config.build().expect("valid"), Mode::Client);
        let mut line = Self { connection, link };
        line.drain();
        line
    }

    pub fn answer_ping(&mut self) {
        let [Sent { header: Header::Ping { kind: PingKind::Request, nonce }, .. }] = self.frames(0)[..] else {
            panic!("{:?} is not the first ping", self.frames(0));
        };
        self.feed(pong(nonce), &[]);
        self.poll();
    }

    /// Polls until the connection waits.
    pub fn poll(&mut self) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = waker(woken.clone());
        while woken.0.swap(false, Ordering::Relaxed) {
            let polled = self.connection.poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending(), "{polled:?}");
        }
    }

    /// The transport takes `bytes` more.
    pub fn give(&mut self, bytes: usize) {
        self.link.lock().expect("no panic").room = bytes;
        self.poll();
    }

    /// The transport takes all there is, and then nothing again.
    pub fn drain(&mut self) {
        self.give(usize::MAX);
        self.give(0);
    }

    /// A frame arrives with the next poll.
    pub fn feed(&mut self, header: Header, body: &[u8]) {
        let mut link = self.link.lock().expect("no panic");
        link.arriving.extend_from_slice(&header.encode());
        link.arriving.extend_from_slice(body);
    }

    /// Bytes that have left.
    pub fn sent(&self) -> usize {
        self.link.lock().expect("no panic").sent.len()
    }

    /// The frames that began to leave at `from` or later.
    pub fn frames(&self, from: usize) -> Vec<Sent> {
        let link = self.link.lock().expect("no panic");
        let (mut input, mut parser, mut frames) = (&link.sent[..], Parser::default(), Vec::new());
        loop {
            let at = link.sent.len() - input.len();
            match parser.next(&mut input).expect("valid frames") {
                Some(Frame::Header(header)) if at >= from => frames.push(Sent { header, at }),
                Some(_) => {}
                None => return frames,
            }
        }
    }

    /// Streams that the peer knows of and has acknowledged, each with `credit` beyond the first window.
    pub fn open<const N: usize>(&mut self, priority: Priority, credit: u32) -> [Stream; N] {
        let streams = std::array::from_fn(|_| {
            let opened = futures::future::poll_fn(|cx| self.connection.poll_outbound(cx)).now_or_never();
            let mut stream = opened.expect("at once").expect("opens");
            stream.set_priority(priority);
            assert!(stream.flush().now_or_never().is_none());
            self.feed(update(stream.id(), Flags::ACK, credit), &[]);
            stream
        });
        // First the announcements, or the answers are to nothing.
        let arriving = std::mem::take(&mut self.link.lock().expect("no panic").arriving);
        self.drain();
        self.link.lock().expect("no panic").arriving = arriving;
        self.drain();
        streams
    }

    pub fn accept(&mut self) -> Stream {
        let accepted = futures::future::poll_fn(|cx| self.connection.poll_inbound(cx)).now_or_never();
        accepted.expect("at once").expect("lives")
    }
}

/// What a stream takes of `bytes` at once; nothing where it would have to wait.
pub fn write(stream: &mut Stream, bytes: &[u8]) -> usize {
    stream.write(bytes).now_or_never().map_or(0, |written| written.expect("the write half is open"))
}

/// Writes `len` bytes, for all of which there is room.
pub fn queue(stream: &mut Stream, len: usize) {
    stream.write_all(&vec![0; len]).now_or_never().expect("room").expect("the write half is open");
}

impl AsyncRead for Throttled {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut link = self.0.lock().expect("no panic");
        let len = link.arriving.len().min(buf.len());
        buf[..len].copy_from_slice(&link.arriving[..len]);
        link.arriving.drain(..len);
        if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
    }
}

impl AsyncWrite for Throttled {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut link = self.0.lock().expect("no panic");
        let len = link.room.min(buf.len());
        link.room -= len;
        link.sent.extend_from_slice(&buf[..len]);
        if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
