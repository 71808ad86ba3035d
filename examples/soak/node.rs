//! One of the two nodes: where it listens, and what its connections share.

use anyhow::{Context as _, ensure};
use sluicegate::stats::NodeStats;
use sluicegate::{Config, MemoryLimit};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// The code with which streams are refused, so that the other node knows a refusal from any other reset.
pub(crate) const REFUSED: u32 = 0x1001;

pub(crate) struct Node {
    pub(crate) memory: Arc<MemoryLimit>,
    pub(crate) stats: NodeStats,
    pub(crate) config: Config,
    listener: Mutex<TcpListener>,
}

impl Node {
    pub(crate) async fn listen(budget: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
        let (memory, stats) = (Arc::new(MemoryLimit::new(budget)), NodeStats::default());
        let config = Config::builder().memory(memory.clone()).stats(stats.clone()).refusal_code(REFUSED).build()?;
        Ok(Self { memory, stats, config, listener: Mutex::new(listener) })
    }

    /// The two ends of a new connection: the dialing one, and this node's.
    pub(crate) async fn dialed(&self) -> anyhow::Result<(TcpStream, TcpStream)> {
        // One at a time, so that the ends belong together.
        let listener = self.listener.lock().await;
        let address = listener.local_addr()?;
        let (dialer, (listener, from)) =
            tokio::try_join!(TcpStream::connect(address), listener.accept()).context("cannot connect over loopback")?;
        ensure!(dialer.local_addr()? == from, "a stranger has connected: {from}");
        for socket in [&dialer, &listener] {
            socket.set_nodelay(true)?;
        }
        Ok((dialer, listener))
    }
}
