//! This crate beside the other yamuxes and plain TCP, in one process over loopback TCP.
//!
//! `cargo bench --bench peers`; `-- --help` says more. Rounds are interleaved and medians compared: on a machine that
//! others use too, only ratios mean something. Whatever is moved is checked, so a fast wrong answer fails.

#![allow(unreachable_pub, reason = "a bench has no users")]

mod contestant;
mod far;
mod figure;
mod go;
mod heap;
mod latency;
#[path = "../muxer/mod.rs"]
mod muxer;
mod plot;
mod requests;
mod reserve;
mod score;
mod streams;
mod swarm;
mod transfer;
mod workload;

use crate::contestant::Contestant;
use crate::go::Children;
use crate::score::Scores;
use crate::workload::{Sizes, Workload};
use clap::Parser;
use std::path::PathBuf;

#[derive(Debug, Parser)]
struct Options {
    /// Rounds of each muxer; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How much of each workload: 1 is 1 GiB of bulk.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Which workloads, by their names or the beginnings of them; all where none is given.
    workloads: Vec<String>,
    /// Which muxers, by their names or the beginnings of them; all where none is given.
    #[arg(long)]
    only: Vec<String>,
    /// Beside the muxers of Go, which are built for it.
    #[arg(long)]
    go: bool,
    /// Where to write the plot of it, as SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// What `cargo bench` passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let mut children = options.go.then(|| Children::start().expect("the muxers of Go"));
    let sizes = Sizes(options.scale);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let workloads = || Workload::ALL.iter().map(|workload| workload.name());
    let contestants = || Contestant::ALL.iter().map(|contestant| contestant.name());
    let mut scores = Scores::default();
    for workload in Workload::ALL.into_iter().filter(|workload| asked(&options.workloads, workload.name(), workloads()))
    {
        // What is counted is the same each time, and the first round warms up the others.
        let rounds = if workload.is_exact() { 1..=1 } else { 0..=options.rounds };
        for round in rounds {
            for contestant in Contestant::ALL.into_iter().filter(|one| asked(&options.only, one.name(), contestants()))
            {
                eprintln!("{}: round {round}, {}", workload.name(), contestant.name());
                let sizes = if round == 0 { sizes.part(8.0) } else { sizes };
                let figures = match (&mut children, contestant) {
                    (Some(children), Contestant::GoYamux | Contestant::Hashicorp) => {
                        children.run(workload, contestant, sizes, &runtime)
                    }
                    _ => workload.run(contestant, sizes, &runtime),
                };
                figures
                    .into_iter()
                    .filter(|_| round > 0)
                    .for_each(|(figure, value)| scores.add(figure, contestant, value));
            }
        }
    }
    println!("{}\nThis crate over the others, medians of rounds (lowest..highest):\n", scores.medians_table());
    println!("{}\n{}", scores.ratios_table(), scores.targets_table());
    if let Some(path) = options.plot {
        let svg = plot::draw(&scores).expect("a plot");
        std::fs::write(&path, svg).expect("the plot can be written");
    }
}

/// Whether a name was asked for: itself, or by its beginning where that is no other's name.
fn asked<'a>(asked: &[String], name: &str, mut all: impl Iterator<Item = &'a str> + Clone) -> bool {
    let by = |asked: &String| name == asked || name.starts_with(asked.as_str()) && !all.any(|other| other == asked);
    asked.is_empty() || asked.iter().any(by)
}
