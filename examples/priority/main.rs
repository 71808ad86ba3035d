//! The latency of a small stream beside bulk data, with priorities off and on.
//!
//! ```text
//! cargo run --release --example priority
//! cargo run --release --example priority -- --rate 5 --bulk 32 --plot priority.svg
//! ```
//!
//! Two sessions are connected by a link in memory that is slower than they are. One end writes bulk data to some streams,
//! and every five milliseconds it sends 64 bytes on another stream, which the other end sends back. The latency is measured
//! from when the message was due: alone, beside bulk of the same priority, and beside bulk that is `LOW` while the small
//! stream is `HIGH`.
//!
//! What to expect, and why:
//!
//! * Streams of one priority take turns, a frame of up to 16 KiB each. Beside one bulk stream a message waits for little,
//!   and priorities save little. Beside many it waits for all their bytes in the connection's send buffer, of which
//!   `MEDIUM` may fill 60 %, 153 KiB: 63 ms at 20 Mbit/s.
//! * On a slower link the turns of a stream may not suffice for its rate, as for these 13 kB/s at 5 Mbit/s. With priorities
//!   off its writer then waits for space in the send buffer too, and that wait is the longest.
//! * With priorities on it waits for neither. What remains is below the scheduler: a batch of up to 64 KiB that has been
//!   encoded, and the queue of the link. At 20 Mbit/s these are 26 ms and, for 16 KiB, 7 ms.
//! * On a link that is faster than the two ends no data queues, and priorities change nothing. Over a real socket the
//!   send buffer of the kernel is such a queue, and holds MiBs; `cargo bench --bench wan` measures that.
//!
//! Ends with an error if priorities did not lower the 99th percentile beside `--bulk` streams, or if a byte was lost,
//! changed or not sent back.

mod case;
mod link;
#[path = "../support/pattern.rs"]
mod pattern;
mod plot;
#[path = "../support/size.rs"]
mod size;

use anyhow::{Context as _, ensure};
use case::{Case, Outcome, Priorities};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, value_parser};
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Measures the latency of a small stream beside bulk, with priorities off and on.
#[derive(Clone, Debug, Parser)]
#[command(name = "priority", version)]
struct Options {
    /// Mbit/s of the link, each way. Where the link is slower than the two ends, bulk waits in front of it, and urgent
    /// data overtakes it.
    #[arg(long, value_name = "MBIT", default_value_t = 20, value_parser = value_parser!(u64).range(2..=1000))]
    rate: u64,

    /// Bytes that wait in front of the link at most, as in a socket or a modem.
    #[arg(long, value_name = "BYTES", default_value = "16KiB", value_parser = size::parse)]
    queue: u64,

    /// Bulk streams at once. One is measured as well.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u16).range(2..=64))]
    bulk: u16,

    /// How long each of the five rows is measured.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Draws the distributions of the latencies into this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

impl Options {
    fn link(&self) -> anyhow::Result<link::Settings> {
        let queue = usize::try_from(self.queue).ok().context("--queue is too large for this machine")?;
        let least = 2 * link::PACKET;
        ensure!(queue >= least, "--queue must be at least {least} bytes, two packets");
        ensure!(queue <= 64 << 20, "--queue must be at most 64MiB");
        Ok(link::Settings { rate: self.rate * 1_000_000 / 8, queue })
    }

    fn cases(&self) -> [Case; 5] {
        [
            Case { bulk: 0, priorities: Priorities::Off },
            Case { bulk: 1, priorities: Priorities::Off },
            Case { bulk: 1, priorities: Priorities::On },
            Case { bulk: self.bulk, priorities: Priorities::Off },
            Case { bulk: self.bulk, priorities: Priorities::On },
        ]
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
    let link = match options.link() {
        Ok(link) => link,
        Err(error) => Options::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    match run(&options, link).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures one case after the other, and shows and checks the result of each.
async fn run(options: &Options, link: link::Settings) -> anyhow::Result<()> {
    // Fail now, and not after the run, if the file cannot be written.
    let plot = options.plot.as_deref().map(create).transpose()?;
    println!("{:<34} {:>10} {:>10} {:>10} {:>12}", "64 bytes there and back beside", "p50", "p99", "max", "bulk");
    let mut outcomes = Vec::new();
    for case in options.cases() {
        let outcome = case.run(link, Duration::from_secs(options.seconds)).await.with_context(|| case.name())?;
        print(&outcome);
        outcomes.push(outcome);
    }
    if let Some(mut file) = plot {
        let title = format!("64 bytes there and back on a link of {} Mbit/s", options.rate);
        file.write_all(plot::draw(&title, &outcomes)?.as_bytes())?;
    }
    println!("every byte arrived as it was sent");
    check(&outcomes)
}

fn create(file: &Path) -> anyhow::Result<File> {
    File::create(file).with_context(|| format!("cannot write {}", file.display()))
}

fn print(outcome: &Outcome) {
    let ms = |quantile| format!("{:.2} ms", outcome.milliseconds(quantile));
    let bulk = match outcome.case.bulk {
        0 => "-".into(),
        _ => format!("{:.1} Mbit/s", outcome.throughput * 8.0 / 1e6),
    };
    let name = outcome.case.name();
    println!("{name:<34} {:>10} {:>10} {:>10} {bulk:>12}", ms(0.5), ms(0.99), ms(1.0));
}

/// What must be true where there is much bulk. Every case has compared its bytes itself.
fn check(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let [.., off, on] = outcomes else { return Ok(()) };
    let [off, on] = [off, on].map(|outcome| outcome.milliseconds(0.99));
    ensure!(
        on < off,
        "priorities made nothing faster, p99 is {on:.2} ms instead of {off:.2} ms: is --rate or --queue too large?"
    );
    Ok(())
}
