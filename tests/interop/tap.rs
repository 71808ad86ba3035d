//! A tap on our transport: every frame that crosses, decoded with our own codec.

use futures::{AsyncRead, AsyncWrite};
use sluicegate::Violation;
use sluicegate::wire::{Flags, Frame, Header, Parser, PingKind};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Frames that are kept for a report.
const KEPT: usize = 300;

/// A transport whose frames are seen.
pub struct Tap<T> {
    io: T,
    wire: Wire,
}

/// Who has sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Us,
    Them,
}

/// What has crossed so far.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<Seen>>);

struct Seen {
    start: Instant,
    ours: Direction,
    theirs: Direction,
    last: VecDeque<(Duration, From, Result<Header, Violation>)>,
    frames: usize,
}

/// The frames that go one way.
#[derive(Default)]
struct Direction {
    parser: Parser,
    /// The start of a header.
    pending: Vec<u8>,
    /// Bytes of data by stream.
    data: HashMap<u32, usize>,
    /// Frames that are a reset.
    resets: usize,
    /// Frames that are the end of a stream.
    ends: usize,
    /// Frames that ask for a pong.
    pings: usize,
    /// The bytes were no frames, which ends the decoding.
    broken: bool,
}

impl<T> Tap<T> {
    pub fn new(io: T) -> (Self, Wire) {
        let seen = Seen {
            start: Instant::now(),
            ours: Direction::default(),
            theirs: Direction::default(),
            last: VecDeque::new(),
            frames: 0,
        };
        let wire = Wire(Arc::new(Mutex::new(seen)));
        (Self { io, wire: wire.clone() }, wire)
    }
}

impl Wire {
    /// Bytes of data that we have sent on a stream.
    pub fn sent_by_us(&self, stream: u32) -> usize {
        self.0.lock().unwrap().ours.data.get(&stream).copied().unwrap_or_default()
    }

    /// Bytes of data that the peer has sent on a stream, as far as they have arrived.
    pub fn sent_by_them(&self, stream: u32) -> usize {
        self.0.lock().unwrap().theirs.data.get(&stream).copied().unwrap_or_default()
    }

    /// Resets that we have sent.
    pub fn resets_by_us(&self) -> usize {
        self.0.lock().unwrap().ours.resets
    }

    /// Streams that the peer has finished, as far as that has arrived.
    pub fn ends_by_them(&self) -> usize {
        self.0.lock().unwrap().theirs.ends
    }

    /// Pings of the peer, as far as they have arrived.
    pub fn pings_by_them(&self) -> usize {
        self.0.lock().unwrap().theirs.pings
    }

    /// Whether a frame with this header is among the last that we have sent.
    pub fn said_by_us(&self, header: Header) -> bool {
        self.0.lock().unwrap().by(From::Us).any(|said| said == header)
    }

    /// The same of the peer, as far as it has arrived.
    pub fn said_by_them(&self, header: Header) -> bool {
        self.0.lock().unwrap().by(From::Them).any(|said| said == header)
    }

    /// The headers of the last frames that we have sent.
    pub fn last_by_us(&self, frames: usize) -> Vec<Header> {
        let mut last: Vec<_> = self.0.lock().unwrap().by(From::Us).collect();
        last.split_off(last.len().saturating_sub(frames))
    }

    /// The last frames, a line each.
    pub fn report(&self) -> String {
        let seen = self.0.lock().unwrap();
        let mut report = format!("{} frames crossed; the last {}:\n", seen.frames, seen.last.len());
        for (at, from, what) in &seen.last {
            let from = if *from == From::Us { "ours" } else { "theirs" };
            let what = match what {
                Ok(header) => format!("{header:?}"),
                Err(violation) => format!("no frame: {violation}"),
            };
            let _ = writeln!(report, "{:>10.3} ms  {from:<6}  {what}", at.as_secs_f64() * 1000.0);
        }
        report
    }
}

impl Seen {
    fn ours(&mut self, bytes: &[u8]) {
        let frames = self.ours.take(bytes);
        self.note(From::Us, frames);
    }

    fn theirs(&mut self, bytes: &[u8]) {
        let frames = self.theirs.take(bytes);
        self.note(From::Them, frames);
    }

    fn by(&self, who: From) -> impl Iterator<Item = Header> {
        self.last.iter().filter(move |(_, from, _)| *from == who).filter_map(|(.., what)| what.clone().ok())
    }

    fn note(&mut self, from: From, frames: Vec<Result<Header, Violation>>) {
        let at = self.start.elapsed();
        self.frames += frames.len();
        self.last.extend(frames.into_iter().map(|frame| (at, from, frame)));
        let surplus = self.last.len().saturating_sub(KEPT);
        self.last.drain(..surplus);
    }
}

impl Direction {
    /// The headers in the next bytes of the stream of bytes.
    fn take(&mut self, bytes: &[u8]) -> Vec<Result<Header, Violation>> {
        let mut frames = Vec::new();
        if self.broken {
            return frames;
        }
        self.pending.extend_from_slice(bytes);
        let mut input = &self.pending[..];
        loop {
            match self.parser.next(&mut input) {
                Ok(Some(Frame::Header(header))) => {
                    self.ends += usize::from(ends_a_stream(header));
                    match header {
                        Header::Data { id, len, .. } => *self.data.entry(id.value()).or_default() += len as usize,
                        Header::WindowUpdate { flags: Flags::RST, .. } => self.resets += 1,
                        Header::Ping { kind: PingKind::Request, .. } => self.pings += 1,
                        _ => {}
                    }
                    frames.push(Ok(header));
                }
                Ok(Some(Frame::Body(_))) => {}
                Ok(None) => break,
                Err(violation) => {
                    frames.push(Err(violation));
                    self.broken = true;
                    break;
                }
            }
        }
        let rest = input.len();
        self.pending.drain(..self.pending.len() - rest);
        frames
    }
}

fn ends_a_stream(header: Header) -> bool {
    matches!(header, Header::Data { flags, .. } | Header::WindowUpdate { flags, .. } if flags.contains(Flags::FIN))
}

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.wire.0.lock().unwrap().theirs(&buf[..read]);
        Poll::Ready(Ok(read))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.wire.0.lock().unwrap().ours(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let (mut left, mut seen) = (written, self.wire.0.lock().unwrap());
        for buf in bufs {
            let len = left.min(buf.len());
            seen.ours(&buf[..len]);
            left -= len;
        }
        drop(seen);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
