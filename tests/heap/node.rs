//! The end whose heap is counted: connections of one budget, driven by hand, and an application that keeps what it gets.

use crate::floods::{Application, Ends, Flood};
use crate::live;
use crate::script::Script;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::{Config, Connection, ConnectionError, MemoryLimit, Mode, ReceiveCharge, Stream};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What a connection may hold beside what it has reserved.
const FIXED: usize = 256 << 10;

pub struct Node {
    flood: &'static Flood,
    connections: Vec<Connection<Script>>,
    streams: Vec<Stream>,
    budget: Arc<MemoryLimit>,
    woken: Arc<Woken>,
    /// Bytes that were live when there was no connection yet.
    pub before: usize,
    /// The most that a connection has held beside 1.1 times what was reserved.
    pub beside: usize,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Node {
    /// Everything that is not a connection's is made before anything is counted.
    pub fn new(flood: &'static Flood, connections: usize, charging: ReceiveCharge) -> Self {
        let budget = Arc::new(MemoryLimit::new(flood.budget));
        let config = Config::builder().keep_alive_interval(None).max_incoming_streams(flood.streams);
        let config = config
            .accept_backlog(flood.backlog)
            .receive_charge(charging)
            .memory(budget.clone())
            .build()
            .expect("valid");
        let scripts: Vec<_> = (0..connections).map(|number| (flood.script)(number as u64)).collect();
        let mut node = Self {
            flood,
            connections: Vec::with_capacity(connections),
            streams: Vec::with_capacity(connections * flood.streams),
            budget,
            woken: Arc::default(),
            before: 0,
            beside: 0,
        };
        let mut scripts = scripts.into_iter();
        node.before = live();
        node.connections.extend(scripts.by_ref().map(|io| Connection::new(io, config.clone(), Mode::Server)));
        node
    }

    /// Polls until nothing moves any more. The law holds after every poll.
    pub fn run(&mut self) {
        if let Application::Writes(streams) = self.flood.application {
            self.open(streams);
        }
        let waker: Waker = self.woken.clone().into();
        self.woken.0.store(true, Ordering::Relaxed);
        while self.woken.0.swap(false, Ordering::Relaxed) {
            for index in 0..self.connections.len() {
                self.poll(index, &waker);
                self.check();
            }
        }
        let closed = self.connections.iter().filter_map(Connection::closed);
        match self.flood.ends {
            Ends::Never => assert_eq!(closed.count(), 0),
            Ends::For(expected) => {
                let expected = |reason| matches!(reason, ConnectionError::Violation(violation) if expected(&violation));
                assert_eq!(closed.filter(|reason| expected(reason.clone())).count(), self.connections.len());
            }
            Ends::Perhaps => assert!(closed.count() <= self.connections.len()),
        }
    }

    fn poll(&mut self, index: usize, waker: &Waker) {
        let cx = &mut Context::from_waker(waker);
        let connection = &mut self.connections[index];
        let _ = connection.poll(cx);
        while self.flood.application.accepts()
            && let Poll::Ready(Ok(stream)) = connection.poll_inbound(cx)
        {
            if self.flood.application != Application::Drops {
                self.streams.push(stream);
            }
        }
        if self.flood.application == Application::Sips {
            for stream in &mut self.streams {
                let _ = stream.read(&mut [0; 700]).now_or_never();
            }
        }
    }

    /// Opens streams on each connection and writes to each of them as much as it takes at once.
    fn open(&mut self, streams: usize) {
        let bytes = [7; 16 * 1024];
        for connection in &mut self.connections {
            for _ in 0..streams {
                let Some(Ok(mut stream)) = poll_fn(|cx| connection.poll_outbound(cx)).now_or_never() else { break };
                while stream.write(&bytes).now_or_never().is_some() {}
                self.streams.push(stream);
            }
            let _ = connection.poll(&mut Context::from_waker(Waker::noop()));
        }
        self.check();
    }

    /// The law, and the most that a connection has held beside what it has reserved.
    fn check(&mut self) {
        let (heap, reserved) = (live().saturating_sub(self.before), self.budget.reserved());
        let beside = heap.saturating_sub(reserved / 10 * 11) / self.connections.len();
        assert!(
            beside <= FIXED,
            "{heap} bytes of heap for {reserved} reserved on {} connections",
            self.connections.len()
        );
        assert!(reserved <= self.budget.limit());
        self.beside = self.beside.max(beside);
    }
}
