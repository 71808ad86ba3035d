//! Latency and throughput over emulated long links, with the TCP of the kernel: this crate beside rust-yamux, tokio-yamux, plain
//! TCP and, with `--go`, go-yamux.
//!
//! ```text
//! cargo bench --bench wan                                  # all rows, medians of five runs; takes hours
//! cargo bench --bench wan -- 20M-8 --runs 1                # the rows whose names begin so, once
//! cargo bench --bench wan -- 20M fresh --plot latency.svg  # with a picture of latency under load
//! cargo bench --bench wan -- --short                       # a few rows for a few seconds each: at most a minute
//! cargo bench --bench wan -- --list                        # the names of the rows
//! ```
//!
//! Each run has a path of its own: two network namespaces, a TUN device in each, and a relay in this process that passes the
//! packets from one to the other at a rate, late, behind a drop-tail queue, and loses some. Connections cross the whole TCP/IP
//! stack of the kernel on both sides. The namespaces have no names and are reached by nothing else; they end with the process,
//! however that ends. `netem` is not needed; Linux, root, `/dev/net/tun` and `ip` (iproute2) are. Where one is missing, the bench
//! says so and does not run.
//!
//! Before a row is run, its path is measured: the round trip with small messages, the rate with a transfer over plain TCP. A row whose
//! path is not what it should be, such as on a machine that is too slow, is reported and left out. While it runs, the relay notes how
//! late its packets leave.
//!
//! **Latency under load.** A message of 64 bytes leaves every 20 ms on a `HIGH` stream, whether or not earlier ones have been answered,
//! and the far end sends it back. First nothing else happens (*alone*), then `LOW` streams carry bulk, up or down; their
//! first seconds are not counted. **Throughput of a fresh stream:** from its first write to the last byte read, on a connection that has
//! been open for some round trips. **Swarm:** two Swarms over TCP and Noise, `/ipfs/ping` beside streams of another protocol.
//!
//! A ratio within one run means something; milliseconds depend on the machine. All bytes are checked.

#![allow(unreachable_pub, reason = "a bench has no users")]

#[cfg(target_os = "linux")]
mod linux;
#[path = "../muxer/mod.rs"]
mod muxer;
#[path = "../peers/transfer.rs"]
#[allow(dead_code, reason = "only the check of bytes is used here")]
mod transfer;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Latency and throughput over emulated long links.
#[derive(Debug, Parser)]
struct Options {
    /// Which rows, by their names or the beginnings of them; all where none is given.
    rows: Vec<String>,
    /// Which muxers, by their names or the beginnings of them; all where none is given.
    #[arg(long)]
    only: Vec<String>,
    /// Runs of each; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How many muxers run at once, each on a path of its own, in rows that are slow enough for that (20 Mbit/s).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    at_once: u32,
    /// One run of a few rows, a few seconds each.
    #[arg(long)]
    short: bool,
    /// Against go-yamux as well, which is built for it.
    #[arg(long)]
    go: bool,
    /// Where to write the plot of latency under load, as SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Fails where it cannot run here, or a path cannot be made.
    #[arg(long)]
    required: bool,
    /// Real-time priority for all of it: the rest of the machine waits where cores are few.
    #[arg(long)]
    real_time: bool,
    /// Says which rows there are.
    #[arg(long)]
    list: bool,
    /// What `cargo bench` passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    #[cfg(target_os = "linux")]
    return linux::run(&options);
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("wan does not run here: it needs the network namespaces of Linux");
        ExitCode::from(u8::from(options.required))
    }
}
