//! Two nodes, and streams that come and go between them for as long as you like, while their connections are killed.
//!
//! ```text
//! cargo run --release --features tokio --example soak
//! cargo run --release --features tokio --example soak -- --duration 60s
//! ```
//!
//! Two nodes in one process keep `--connections` TCP connections on loopback between them, half of them dialed by each.
//! On each connection both ends open one stream after the other: of random sizes and priorities, some of them reset or
//! dropped by one end or the other. The receiver compares every byte with what was sent, and no stream may end before all
//! bytes have arrived. Meanwhile connections are killed, and replaced: the socket is shut, or one end drops its connection
//! without a go-away, or closes it while streams are open.
//!
//! No operation may take longer than 30 seconds: the run ends with an error that says which one did. At regular intervals
//! no stream is opened until the others have ended. Then neither node may have a stream or a reservation, and the heap is
//! measured. It may not grow: the minimum of the last third may be no more than 10 % and 1 MiB above the minimum of the
//! first. Over half an hour that allows a few bytes for each stream. The first quarter, two minutes at most, is not
//! measured: buffers grow then, and each connection fills its table of ended streams.
//!
//! Ends with an error as soon as any of this is violated.

mod answer;
mod growth;
mod kill;
mod link;
mod node;
#[path = "../support/pattern.rs"]
mod pattern;
mod place;
mod quiet;
mod report;
mod run;
mod tally;
mod transfer;
mod trouble;
mod watch;
mod world;

#[path = "../support/duration.rs"]
mod duration;
#[path = "../support/size.rs"]
mod size;

use anyhow::{Context as _, ensure};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, value_parser};
use peak_alloc::PeakAlloc;
use sluicegate::Config;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Streams come and go between two nodes while connections are killed: no byte may be lost, no task stuck, no memory leaked.
#[derive(Clone, Debug, Parser)]
#[command(name = "soak", version)]
struct Options {
    /// Duration of the run: at least 10s.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration::parse)]
    duration: Duration,

    /// Connections between the two nodes. Each takes three file descriptors.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u16).range(1..=10_000))]
    connections: u16,

    /// Streams that each end of a connection has open at once, at most.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u16).range(1..=100))]
    streams: u16,

    /// Memory that each node may reserve for the streams of all its connections. A stream for which there is none left
    /// is refused, and tried again.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = size::parse)]
    memory: u64,

    /// Connections that are killed in a minute.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = value_parser!(u32).range(0..=60_000))]
    kills: u32,

    /// Seed of all random choices. The timing depends on the machine as well.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        const SHORTEST: Duration = Duration::from_secs(10);
        const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
        ensure!(
            (SHORTEST..=LONGEST).contains(&self.duration),
            "--duration must be from 10s to 168h, so that there is something to compare"
        );
        let least = 2 * u64::from(Config::default().initial_stream_window());
        ensure!(self.memory >= least, "--memory must be at least {least} bytes, the windows of two streams");
        Ok(())
    }

    /// Bytes.
    fn budget(&self) -> anyhow::Result<usize> {
        usize::try_from(self.memory).ok().context("--memory is too large for this machine")
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let budget = match options.check().and_then(|()| options.budget()) {
        Ok(budget) => budget,
        Err(error) => Options::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    match start(&options, budget) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options, budget: usize) -> anyhow::Result<()> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run::run(options, budget))
}
