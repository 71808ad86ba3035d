//! A node under attack goes on serving its good peers.
//!
//! ```text
//! cargo run --release --features tokio --example limits
//! cargo run --release --features tokio --example limits -- --memory 64MiB --hostile 16 --plot limits.svg
//! ```
//!
//! One node, over TCP on loopback, echoes the bytes of its peers and may reserve no more than `--memory` for all of them
//! together. Good peers send requests, and compare every byte of the answers. After a quarter of the time hostile peers
//! join, which encode their frames by hand: one opens streams without end and never reads, one fills every window that it gets
//! with frames of one byte, one opens and resets streams, one pings and never reads. A hostile peer whose connection is
//! ended connects again.
//!
//! The budget bounds the reservations of the node under all settings. These settings guarantee that good peers are served
//! as well:
//!
//! * each connection has a share of the budget (`MemoryScope::per_connection`), and there are no more connections than
//!   shares: so no peer takes memory that another needs;
//! * opening a stream takes 256 KiB at the highest priority, and growth (windows, send buffers) stops at 59.8 % of the
//!   share, since streams have the priority `MEDIUM`: so 40.2 % of a share always remain for opening. A good peer needs
//!   three streams at a time, 768 KiB, which is 40.2 % of 1.86 MiB: a share of 2 MiB suffices.
//!
//! Ends with an error if more than the limit was reserved, if an answer was wrong, if a good peer was refused although the
//! settings guarantee that it is not, or if anything is reserved when all connections are closed.

mod good;
mod hostile;
mod node;
#[path = "../support/pattern.rs"]
mod pattern;
mod plot;
mod report;
mod run;
#[path = "../support/size.rs"]
mod size;
mod tally;
mod watch;

use anyhow::{Context as _, ensure};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, value_parser};
use node::Bounds;
use sluicegate::{Config, MemoryLimit};
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

/// A node stays within its memory limit and serves its good peers while hostile peers attack it.
///
/// The node never reserves more than --memory. Each connection has a share of it. No stream of a good peer is refused if
/// all shares fit into --memory, and if 40.2 % of a share holds the three streams that a good peer has at a time (the rest
/// of a share is for the growth of windows and send buffers). With the defaults both is so. With --share 16MiB good peers
/// are refused streams; the limit holds all the same.
#[derive(Clone, Debug, Parser)]
#[command(name = "limits", version)]
struct Options {
    /// Memory that the node may reserve for the streams of all its connections.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = size::parse)]
    memory: u64,

    /// The share of one connection. Default: --memory divided by the number of peers.
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    share: Option<u64>,

    /// Streams that one peer may have open at once.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u16).range(3..))]
    max_incoming_streams: u16,

    /// Good peers. Each has three streams at a time: two requests and bulk data.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(1..=64))]
    good: u16,

    /// Hostile peers. They are spread over the four attacks.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(0..=64))]
    hostile: u16,

    /// Duration of the run. The attack begins after a quarter of it.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = value_parser!(u64).range(2..=3600))]
    seconds: u64,

    /// Draws reserved bytes against the limit, and the requests of the good peers, into this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

impl Options {
    fn bounds(&self) -> anyhow::Result<Bounds> {
        let connections = usize::from(self.good) + usize::from(self.hostile);
        let limit = usize::try_from(self.memory).ok().context("--memory is too large for this machine")?;
        let share = match self.share {
            Some(share) => usize::try_from(share).ok().context("--share is too large for this machine")?,
            None => limit / connections,
        };
        let least = good::STREAMS * Config::default().initial_stream_window() as usize;
        ensure!(
            share >= least,
            "a connection has {share} bytes, but the streams of a good peer take {least}: give more"
        );
        ensure!(share <= limit, "--share must not be more than --memory");
        let memory = Arc::new(MemoryLimit::new(limit));
        Ok(Bounds { memory, share, streams: usize::from(self.max_incoming_streams), connections })
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let bounds = match options.bounds() {
        Ok(bounds) => bounds,
        Err(error) => Options::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    match start(&options, bounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The hostile peers have a runtime of their own, so that the runtime of the node does no work for them.
fn start(options: &Options, bounds: Bounds) -> anyhow::Result<()> {
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Runtime::new()?.block_on(run::run(options, bounds, elsewhere.handle()))
}
