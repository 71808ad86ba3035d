//! Two libp2p nodes under a memory limit.
//!
//! ```text
//! cargo run --release --example swarm
//! cargo run --release --example swarm -- --memory 4MiB --peer libp2p-yamux
//! ```
//!
//! Two real Swarms in one process, over TCP on loopback and Noise. The node speaks this crate's yamux and may reserve no
//! more than `--memory` for its streams. The peer opens many of them at once and moves data, every byte of which is
//! compared, while one more stream keeps pinging. If the node has no memory left for a stream, only that stream is
//! refused: the peer tries it again when another has ended.
//!
//! The streams of a Swarm have no call that sets a priority. `Config::builder().priority_by_protocol(..)` sets it by the
//! protocol: here the protocol of the pings is urgent, and that of the data is not.
//!
//! Ends with an error if a byte is missing, or if the node has reserved more than it may.

mod link;
mod load;
mod node;
#[path = "../support/pattern.rs"]
mod pattern;
#[path = "../support/size.rs"]
mod size;
mod stats;

use anyhow::{Context as _, bail, ensure};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum, value_parser};
use futures::future;
use load::{Job, Way};
use node::{Muxer, Node};
use sluicegate::{Config, MemoryLimit, Priority};
use stats::{Screen, Stats};
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// Two libp2p nodes move data over many yamux streams, while one keeps to a memory limit and a stream whose protocol has
/// a high priority keeps pinging.
#[derive(Clone, Debug, Parser)]
#[command(name = "swarm", version)]
struct Options {
    /// Streams that move data, all at once as far as memory allows.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..=1000))]
    streams: u16,

    /// Data of each stream.
    #[arg(long, value_name = "BYTES", default_value = "4MiB", value_parser = size::parse)]
    bytes: u64,

    /// Memory that the node may reserve for its streams: at least 512KiB, the windows of the ping stream and one more.
    #[arg(long, value_name = "BYTES", default_value = "24MiB", value_parser = size::parse)]
    memory: u64,

    /// What the peer speaks. The node is always sluicegate.
    #[arg(long, value_enum, default_value_t = Peer::Sluicegate)]
    peer: Peer,

    /// Which way the data goes.
    #[arg(long, value_enum, default_value_t = Direction::In)]
    direction: Direction,

    /// Mbit/s of the link between the two, each way; 0 is as fast as loopback is. Priorities count where the link is
    /// slower than the nodes: else data queues in the kernel's socket buffers, which a muxer cannot reorder.
    #[arg(long, value_name = "MBIT", default_value_t = 1000)]
    link: u32,

    /// Priority of the protocol of the pings, where the sender is sluicegate.
    #[arg(long, value_name = "0..=255", default_value_t = Priority::HIGH.value())]
    ping_priority: u8,

    /// Priority of the protocol of the data. It also says up to which share of the memory windows may grow.
    #[arg(long, value_name = "0..=255", default_value_t = Priority::LOW.value())]
    bulk_priority: u8,

    /// Milliseconds between the answer to a ping and the next ping.
    #[arg(long, value_name = "MS", default_value_t = 2, value_parser = value_parser!(u64).range(1..=10_000))]
    ping_interval: u64,

    /// Seconds after which it is given up.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = value_parser!(u64).range(1..))]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// This crate, without a memory limit.
    Sluicegate,
    /// The yamux that comes with rust-libp2p. It knows no priorities.
    Libp2pYamux,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// The peer sends, the node receives.
    In,
    /// The node sends, the peer receives.
    Out,
    /// Every other stream the other way.
    Both,
}

impl Options {
    /// The node's settings, the peer's, and the budget of the node.
    fn configs(&self) -> anyhow::Result<(Config, Config, Arc<MemoryLimit>)> {
        ensure!(self.bytes > 0, "--bytes must be more than 0");
        ensure!(self.bytes.checked_mul(u64::from(self.streams)).is_some(), "--bytes times --streams is more than 2^64");
        let limit = usize::try_from(self.memory).ok().context("--memory is too large for this machine")?;
        let memory = Arc::new(MemoryLimit::new(limit));
        let [ping, bulk] = [self.ping_priority, self.bulk_priority].map(Priority::new);
        let builder = Config::builder().max_incoming_streams(usize::from(self.streams) + 1).priority_by_protocol(
            move |protocol| match protocol {
                name if name == load::PING.as_ref() => ping,
                name if name == load::BULK.as_ref() => bulk,
                _ => Priority::default(),
            },
        );
        let (node, peer) = (builder.clone().memory(memory.clone()).build()?, builder.build()?);
        let least = 2 * u64::from(node.initial_stream_window());
        ensure!(self.memory >= least, "--memory must be at least {least} bytes, the windows of two streams");
        Ok((node, peer, memory))
    }

    /// Bytes a second.
    fn rate(&self) -> u64 {
        u64::from(self.link) * 1_000_000 / 8
    }

    /// For the table.
    fn setup(&self) -> [(&'static str, String); 3] {
        let way = match self.direction {
            Direction::In => "to the node",
            Direction::Out => "to the peer",
            Direction::Both => "both ways",
        };
        let link = match self.link {
            0 => "loopback".to_string(),
            rate => format!("{rate} Mbit/s each way"),
        };
        let peer = self.peer.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string());
        [
            ("muxers", format!("node sluicegate, peer {peer}")),
            ("link", format!("{link}, data {way}")),
            ("priorities", format!("pings {}, data {}", self.ping_priority, self.bulk_priority)),
        ]
    }

    fn jobs(&self) -> impl Iterator<Item = Job> {
        let Self { direction, bytes, streams, .. } = *self;
        (0..u64::from(streams)).map(move |number| {
            let way = match (direction, number % 2) {
                (Direction::In, _) | (Direction::Both, 0) => Way::In,
                (Direction::Out, _) | (Direction::Both, _) => Way::Out,
            };
            Job { way, number, bytes }
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let (node, peer, memory) = match options.configs() {
        Ok(configs) => configs,
        Err(error) => Options::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    let node = Muxer::Sluicegate(node);
    let peer = match options.peer {
        Peer::Sluicegate => Muxer::Sluicegate(peer),
        Peer::Libp2pYamux => Muxer::Libp2pYamux,
    };
    match run(&options, node, peer, &memory).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Connects the nodes, runs them, and shows and checks the result.
async fn run(options: &Options, node: Muxer, peer: Muxer, memory: &Arc<MemoryLimit>) -> anyhow::Result<()> {
    let (mut node, mut peer) = (Node::new(node, options.rate())?, Node::new(peer, options.rate())?);
    let (id, address) = (node.id(), node.listen().await?);
    let stats = Arc::new(Stats::new()?);
    load::serve(node.control(), stats.clone())?;
    let control = peer.control();
    let (_keep, never) = oneshot::channel();
    let mut node = tokio::spawn(node.run(never));
    peer.connect(address).await?;
    let (hang_up, done) = oneshot::channel();
    let mut peer = tokio::spawn(peer.run(done));

    let total = options.bytes * u64::from(options.streams);
    let screen = Screen::new(stats.clone(), memory.clone(), options.streams.into(), total)?;
    let start = Instant::now();
    let took = tokio::select! {
        result = work(options, control, id, &stats) => {
            result?;
            start.elapsed()
        }
        why = &mut node => bail!("the node lost its connection: {}", why?),
        why = &mut peer => bail!("the peer lost its connection: {}", why?),
        () = tokio::time::sleep(Duration::from_secs(options.timeout)) => {
            let bytes = stats.bytes.load(Ordering::Relaxed);
            bail!("given up after {} s with {bytes} of {total} bytes moved", options.timeout);
        }
        () = screen.show() => bail!("the screen went dark"),
    };

    let _ = hang_up.send(id);
    let closed = tokio::time::timeout(Duration::from_secs(5), future::try_join(node, peer));
    closed.await.context("the connection does not close")??;
    stats::print(&options.setup(), &stats, memory, took);
    check(total, &stats, memory)
}

/// Moves the data, and pings for as long as that takes.
async fn work(
    options: &Options,
    control: libp2p_stream::Control,
    node: libp2p::PeerId,
    stats: &Arc<Stats>,
) -> anyhow::Result<()> {
    let ping = load::open_ping(control.clone(), node).await?;
    let done = Arc::new(AtomicBool::new(false));
    let pings = load::ping(ping, Duration::from_millis(options.ping_interval), stats.clone(), done.clone());
    let moves = async {
        load::move_all(control, node, options.jobs(), stats.clone()).await?;
        done.store(true, Ordering::Relaxed);
        Ok(())
    };
    let pings = async { pings.await.context("the ping stream failed") };
    tokio::try_join!(moves, pings)?;
    Ok(())
}

/// The checks of every run.
fn check(total: u64, stats: &Stats, memory: &MemoryLimit) -> anyhow::Result<()> {
    let bytes = stats.bytes.load(Ordering::Relaxed);
    ensure!(bytes == total, "{bytes} bytes have arrived instead of {total}");
    ensure!(stats.pings_answered() > 0, "no ping was answered");
    let (limit, peak, left) = (memory.limit(), memory.peak(), memory.reserved());
    ensure!(peak <= limit, "{peak} bytes were reserved, but the limit is {limit}");
    ensure!(left == 0, "{left} bytes are still reserved though the connection is closed");
    Ok(())
}
