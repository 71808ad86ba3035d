//! `Node`: a session whose driver is a task, with a budget, and what is at the other end of its transport.

use crate::link::Link;
use crate::peer::Peer;
use shuttle::future::{JoinHandle, spawn};
use sluicegate::{Config, ConfigBuilder, ConnectionError, MemoryLimit, Mode, Session};
use std::sync::Arc;
use std::time::Duration;

/// The window that yamux starts every stream with, in bytes.
pub const WINDOW: usize = 256 * 1024;

/// No deadline passes while a schedule is tried: time is not part of it.
const LONG: Duration = Duration::from_secs(60 * 60);

pub struct Node {
    pub session: Session,
    pub memory: Arc<MemoryLimit>,
    pub driver: JoinHandle<Result<(), ConnectionError>>,
}

impl Node {
    /// Drives its end of a link that holds `capacity` bytes, which the peer has the other end of.
    pub fn facing_peer(mode: Mode, capacity: usize, settings: ConfigBuilder) -> (Self, Peer) {
        Self::sharing(Arc::new(MemoryLimit::new(16 * WINDOW)), mode, capacity, settings)
    }

    /// The same with a budget that may be another one's, too.
    pub fn sharing(memory: Arc<MemoryLimit>, mode: Mode, capacity: usize, settings: ConfigBuilder) -> (Self, Peer) {
        let (near, far) = Link::pair(capacity);
        (Self::new(near, memory, mode, settings), Peer::new(far))
    }

    /// Drops the driver, wherever it waits. All streams must have been dropped before: no memory is left.
    pub async fn end(self) {
        self.driver.abort();
        // That it was dropped is no news, and how it ended has been asked where that matters.
        let _ = self.driver.await;
        assert_eq!(self.memory.reserved(), 0);
    }

    /// The same for nodes that share a budget: what one of them is about to do may take some of it for a moment.
    pub async fn end_all<const N: usize>(nodes: [Self; N]) {
        let memory = nodes.each_ref().map(|node| node.memory.clone());
        for Self { driver, .. } in nodes {
            driver.abort();
            let _ = driver.await;
        }
        memory.into_iter().for_each(|memory| assert_eq!(memory.reserved(), 0));
    }

    fn new(link: Link, memory: Arc<MemoryLimit>, mode: Mode, settings: ConfigBuilder) -> Self {
        let config = settings.memory(memory.clone()).build().expect("valid");
        let (session, driver) = Session::new(link, config, mode);
        Self { session, memory, driver: spawn(driver) }
    }
}

/// A client and a server on a link that holds `capacity` bytes.
pub fn pair(capacity: usize, settings: &ConfigBuilder) -> (Node, Node) {
    let (near, far) = Link::pair(capacity);
    let node = |link, mode| Node::new(link, Arc::new(MemoryLimit::new(16 * WINDOW)), mode, settings.clone());
    (node(near, Mode::Client), node(far, Mode::Server))
}

/// Settings under which no clock decides anything: neither when a frame is sent nor how large a window is.
pub fn settings() -> ConfigBuilder {
    Config::builder()
        .keep_alive_interval(None)
        .measure_rtt_interval(LONG)
        .connection_write_timeout(LONG)
        .max_stream_window(WINDOW as u32)
        .max_send_buffer(64 * 1024)
}
