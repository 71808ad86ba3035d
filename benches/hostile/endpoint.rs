//! The end that is counted, and the application that uses it.

use crate::feed::Feed;
use crate::kinds::{Application, Full, Kind};
use anyhow::ensure;
use sluicegate::stats::Traffic;
use sluicegate::wire::Header;
use sluicegate::{Config, Connection, ConnectionError, MemoryLimit, Mode, Stream};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// More streams, or streams that wait, than any flood has.
const PLENTY: usize = 1 << 16;

/// Longer than a connection waits for its application.
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct Endpoint {
    connection: Connection<Feed>,
    application: Application,
    streams: Vec<Stream>,
    woken: Arc<Woken>,
}

struct Woken {
    thread: Thread,
    is_due: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_due.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Takes all that has arrived, or what comes before the connection ends. This is what is counted.
#[inline(never)]
pub(crate) fn take(endpoint: &mut Endpoint) {
    endpoint.run();
}

impl Endpoint {
    /// With so many streams open, and so many frames of the flood at the door.
    pub(crate) fn new(kind: &Kind, frames: u32, streams: u32) -> anyhow::Result<Self> {
        let before = (0..streams).flat_map(|n| (kind.before)(2 * n + 1));
        let mut bytes = encode(before);
        let arrived = Rc::new(Cell::new(bytes.len()));
        bytes.extend(encode((0..frames).map(|n| (kind.frame)(n, streams))));
        let all = bytes.len();
        let feed = Feed::new(kind, bytes, arrived.clone());
        let connection = Connection::new(feed, config(kind.full, streams as usize)?, Mode::Server);
        let woken = Arc::new(Woken { thread: thread::current(), is_due: AtomicBool::new(true) });
        let mut endpoint = Self { connection, application: kind.application, streams: Vec::new(), woken };
        endpoint.run();
        let stats = endpoint.connection.stats();
        let open = match kind.application {
            Application::Drops => stats.streams.accepted,
            _ => stats.streams.open,
        };
        ensure!(open == u64::from(streams), "{open} of {streams} streams are open");
        arrived.set(all);
        endpoint.woken.is_due.store(true, Ordering::Release);
        Ok(endpoint)
    }

    /// What has been received so far.
    pub(crate) fn received(&self) -> Traffic {
        self.connection.stats().received
    }

    /// What the connection ended with.
    pub(crate) fn violation(&self) -> Option<String> {
        match self.connection.closed()? {
            ConnectionError::Violation(violation) => {
                let shown = format!("{violation:?}");
                Some(shown.split(' ').next().unwrap_or_default().to_string())
            }
            other => Some(format!("{other:?}")),
        }
    }

    fn run(&mut self) {
        let waker = Waker::from(self.woken.clone());
        let cx = &mut Context::from_waker(&waker);
        loop {
            if self.woken.is_due.swap(false, Ordering::AcqRel) {
                let _ = self.connection.poll(cx);
                self.apply(cx);
            } else if self.connection.get_ref().is_dry() && !self.waits() {
                return;
            }
            if self.connection.is_closed() {
                return;
            }
        }
    }

    /// Waits a little: where streams wait to be accepted nothing is read, and a timer says when that is over. Says
    /// whether that was so.
    fn waits(&self) -> bool {
        if self.application == Application::Waits {
            thread::park_timeout(PATIENCE);
        }
        self.woken.is_due.load(Ordering::Acquire)
    }

    /// The application's turn.
    fn apply(&mut self, cx: &mut Context<'_>) {
        while self.application != Application::Waits
            && let Poll::Ready(Ok(stream)) = self.connection.poll_inbound(cx)
        {
            if self.application != Application::Drops {
                self.streams.push(stream);
            }
        }
        if self.application == Application::Reads
            && let Some(stream) = self.streams.first_mut()
        {
            while let Poll::Ready(Ok(Some(_))) = stream.poll_read_bytes(cx) {}
        }
    }
}

fn encode(headers: impl Iterator<Item = Header>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for header in headers {
        bytes.extend(header.encode());
        // A body that no window has room for is not needed to see what its header does.
        let body = header.body_len().min(16 * 1024) as usize;
        bytes.resize(bytes.len() + body, 0);
    }
    bytes
}

/// Windows do not grow, since that depends on time.
fn config(full: Full, streams: usize) -> anyhow::Result<Config> {
    let window = Config::default().initial_stream_window();
    let room = |of| if full == of { streams } else { PLENTY };
    let budget = MemoryLimit::new(room(Full::Memory) * window as usize);
    let builder = Config::builder().max_stream_window(window).keep_alive_interval(None).memory(Arc::new(budget));
    let builder = builder.max_incoming_streams(room(Full::Number)).accept_backlog(room(Full::Backlog));
    Ok(builder.build()?)
}
