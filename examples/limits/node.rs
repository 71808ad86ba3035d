//! The node: echoes every stream of every connection within its memory limit.

use crate::tally::Tally;
use anyhow::Context as _;
use sluicegate::memory::MemoryScope;
use sluicegate::stats::NodeStats;
use sluicegate::{Config, ConnectionError, MemoryLimit, Mode, Priority, Session, Stream, Violation};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;

/// The code with which streams are refused, so that a peer knows a refusal from any other reset.
pub(crate) const REFUSED: u32 = 0x1001;

/// The limits of the node.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// For all connections together.
    pub(crate) memory: Arc<MemoryLimit>,
    /// Of that, for one connection.
    pub(crate) share: usize,
    /// Streams that one peer may have open at once.
    pub(crate) streams: usize,
    /// Connections at once.
    pub(crate) connections: usize,
}

impl Bounds {
    /// Whether a peer that has never more than `streams` open at once is refused none of them: the shares fit into the
    /// budget, and the part of a share into which nothing grows has room for the first windows of that many.
    pub(crate) fn promise(&self, streams: usize) -> bool {
        let windows = streams.saturating_mul(Config::default().initial_stream_window() as usize);
        let grown = self.share as u128 * (1 + u128::from(Priority::default().value())) / 256;
        let shares = self.share.saturating_mul(self.connections);
        shares <= self.memory.limit() && self.streams >= streams && windows as u128 + grown <= self.share as u128
    }
}

/// A node that listens.
pub(crate) struct Node {
    listener: TcpListener,
    connections: usize,
    config: Config,
    tally: Arc<Tally>,
}

impl Node {
    pub(crate) async fn listen(bounds: Bounds, stats: NodeStats, tally: Arc<Tally>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
        // Each connection has its own share of the one budget.
        let memory = MemoryScope::new(bounds.memory.limit(), bounds.memory.clone()).per_connection(bounds.share);
        let builder = Config::builder().max_incoming_streams(bounds.streams).refusal_code(REFUSED).stats(stats);
        let config = builder.memory(Arc::new(memory)).build()?;
        Ok(Self { listener, connections: bounds.connections, config, tally })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("the node has no address")
    }

    /// Serves until it is told to stop, then waits for its connections to end: their peers close them.
    pub(crate) async fn serve(self, mut stop: oneshot::Receiver<()>) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        // The application bounds the number of connections, not the muxer. A further peer waits in the listener's backlog
        // until another has left, and its bytes wait in the kernel.
        let slots = Arc::new(Semaphore::new(self.connections));
        loop {
            tokio::select! {
                peer = self.accept(&slots) => {
                    let (socket, slot) = peer?;
                    connections.spawn(serve(socket, self.config.clone(), self.tally.clone(), slot));
                }
                Some(_) = connections.join_next() => {}
                _ = &mut stop => break,
            }
        }
        drop(self.listener);
        connections.join_all().await;
        Ok(())
    }

    async fn accept(&self, slots: &Arc<Semaphore>) -> anyhow::Result<(TcpStream, OwnedSemaphorePermit)> {
        let slot = slots.clone().acquire_owned().await?;
        loop {
            match self.listener.accept().await {
                Ok((socket, _)) => return Ok((socket, slot)),
                // The peer has left already, or no file descriptor is free: the node goes on.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// Serves one connection, and each of its streams, to the end.
async fn serve(socket: TcpStream, config: Config, tally: Arc<Tally>, _slot: OwnedSemaphorePermit) {
    // Without TCP_NODELAY small answers are slow but right.
    let _ = socket.set_nodelay(true);
    let (session, driver) = Session::over_tokio(socket, config, Mode::Server);
    let driver = tokio::spawn(driver);
    let mut streams = JoinSet::new();
    while let Ok(stream) = session.accept().await {
        streams.spawn(echo(stream));
        while streams.try_join_next().is_some() {}
    }
    if let Ok(Err(error)) = driver.await
        && let Some(why) = why(&error)
    {
        tally.thrown_out(why);
    }
    // A stream that fails does not concern the node.
    streams.join_all().await;
}

/// Echoes a stream. It reads on only when the last bytes are written, so a peer that does not read its answers fills only
/// its own window.
async fn echo(mut stream: Stream) -> io::Result<()> {
    while let Some(bytes) = stream.read_bytes().await? {
        stream.write_all(&bytes).await?;
    }
    stream.shutdown().await
}

/// Why the node has ended the peer's connection; `None` if it has not.
fn why(error: &ConnectionError) -> Option<&'static str> {
    match error {
        ConnectionError::Violation(violation) => Some(match violation {
            Violation::RefusedFlood => "streams without end",
            Violation::RapidReset => "opening and resetting",
            Violation::PingFlood => "pings without reading",
            Violation::UselessFrames => "useless frames",
            _ => "another violation",
        }),
        ConnectionError::WriteTimeout | ConnectionError::KeepAliveTimeout => Some("silence"),
        _ => None,
    }
}
