//! Ten thousand connections in one process, under one budget.
//!
//! ```text
//! cargo run --release --example scale -- --connections 500 --streams 4
//! ```
//!
//! Both ends of every connection are in this process, with a pipe in memory between them. All connections have open
//! streams. On half of them every stream moves bytes both ways in `--rounds` rounds, and every byte is compared. The others
//! are silent until the end, when every stream has to answer. All ends share one `MemoryLimit`.
//!
//! Ends with an error if
//!
//! * the heap of the process, without the pipes, ever exceeds 1.1 times the reserved bytes plus `--beside` for each end of a
//!   connection; or if more is reserved than `--memory`;
//! * a busy connection does not finish its rounds, or has less than a quarter of the average when half of all work is done
//!   (less than half of it with one worker: a runtime does not balance the queues of its workers);
//! * more than 5 % of the time of the workers goes to the shared manager, timed call by call;
//! * a byte is wrong, a silent stream ends or does not answer in the end, a connection does not close gracefully, or
//!   anything is reserved when all are closed.

mod lane;
mod law;
mod manager;
mod pair;
#[path = "../support/pattern.rs"]
mod pattern;
mod pipe;
mod receive_charge;
mod report;
mod run;
#[path = "../support/size.rs"]
mod size;
mod tally;
mod watch;

use anyhow::ensure;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, value_parser};
use receive_charge::ReceiveCharge;
use sluicegate::MemoryLimit;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

/// A worker polls this many tasks of its own queue before it takes one from the global queue. Its own queue holds 256; with
/// far more tasks and the default interval, a few connections are polled again and again while the others wait.
const GLOBAL_QUEUE: u32 = 3;

/// Many connections in one process share one budget: the heap stays close to the reserved bytes, no connection starves, and
/// the budget is not the bottleneck.
#[derive(Clone, Debug, Parser)]
#[command(name = "scale", version)]
struct Options {
    /// Connections, both ends of each. Half of them are busy.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = count(2, 100_000))]
    connections: usize,

    /// Streams of each connection.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count(1, 1000))]
    streams: usize,

    /// Memory that all ends together may reserve.
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = bytes(1, usize::MAX))]
    memory: usize,

    /// What the memory manager is charged for on the receive side.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ReceiveCharge::Buffered)]
    receive_charge: ReceiveCharge,

    /// Rounds that a busy connection has to finish.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,

    /// Threads of the runtime.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = count(1, 64))]
    workers: usize,

    /// Data that a busy stream moves each way in a round: 1 byte to 16 MiB.
    #[arg(long, value_name = "BYTES", default_value = "4KiB", value_parser = bytes(1, 16 << 20))]
    round: usize,

    /// Capacity of the pipe of a connection each way: 1 byte to 16 MiB.
    #[arg(long, value_name = "BYTES", default_value = "4KiB", value_parser = bytes(1, 16 << 20))]
    pipe: usize,

    /// Heap that an end of a connection may take beside 1.1 times the reserved bytes: at most 1 GiB.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = bytes(0, 1 << 30))]
    beside: usize,
}

impl Options {
    fn busy(&self) -> usize {
        self.connections / 2
    }

    /// Ends of connections.
    fn ends(&self) -> usize {
        2 * self.connections
    }

    fn stream_ends(&self) -> usize {
        self.ends() * self.streams
    }

    /// Bytes that a busy connection moves in all its rounds.
    fn share(&self) -> u64 {
        u64::from(self.rounds) * 2 * self.streams as u64 * self.round as u64
    }

    /// The budget, if it can hold all streams at once.
    fn budget(&self) -> anyhow::Result<Arc<MemoryLimit>> {
        let least = self.stream_ends() * self.receive_charge.least();
        ensure!(
            least <= self.memory,
            "the {} stream ends take {} MiB before they move anything: give more --memory, or fewer streams",
            self.stream_ends(),
            watch::mib(least)
        );
        Ok(Arc::new(MemoryLimit::new(self.memory)))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let budget = match options.budget() {
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

fn start(options: &Options, budget: Arc<MemoryLimit>) -> anyhow::Result<()> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(options.workers).global_queue_interval(GLOBAL_QUEUE).enable_all();
    builder.build()?.block_on(run::run(options, budget))
}

/// Reads a number in this range.
fn count(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse().map_err(|_| "expected a number".to_string())?;
        within(least, most, number)
    }
}

/// Reads a number of bytes in this range.
fn bytes(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| within(least, most, usize::try_from(size::parse(text)?).unwrap_or(usize::MAX))
}

fn within(least: usize, most: usize, number: usize) -> Result<usize, String> {
    match number {
        number if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected {least} to {most}")),
    }
}
