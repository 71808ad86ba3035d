//! Watches the node: a table that is redrawn on a terminal, a line a second elsewhere, and a record of all samples.

use crate::tally::Tally;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sluicegate::MemoryLimit;
use sluicegate::stats::NodeStats;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Samples.
const PER_SECOND: usize = 10;

/// A sample of the node's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// Since the sample before.
    pub(crate) took: Duration,
    /// Bytes.
    pub(crate) reserved: usize,
    /// Requests that were answered since the sample before.
    pub(crate) answered: u64,
    /// The slowest of them.
    pub(crate) slowest: Duration,
}

/// The subject of the samples.
pub(crate) struct Watch {
    pub(crate) memory: Arc<MemoryLimit>,
    pub(crate) stats: NodeStats,
    pub(crate) tally: Arc<Tally>,
}

impl Watch {
    /// Adds to the record until it is dropped.
    pub(crate) async fn record(&self, record: &mut Vec<Sample>) -> anyhow::Result<()> {
        let screen = Screen::new(self.memory.limit() as u64)?;
        let start = Instant::now();
        let mut before = 0;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND as u32);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let (answers, slowest) = (self.tally.answers(), self.tally.take_slowest());
            let (at, reserved) = (start.elapsed(), self.memory.reserved());
            let took = at - record.last().map_or(Duration::ZERO, |sample| sample.at);
            record.push(Sample { at, took, reserved, answered: answers - before, slowest });
            before = answers;
            if screen.is_live() {
                screen.show(reserved as u64, self.rows(last_second(record)));
            } else if record.len().is_multiple_of(PER_SECOND) {
                eprintln!("{:4.1} s  {}", at.as_secs_f64(), self.rows(last_second(record)).join("; "));
            }
        }
    }

    /// The table.
    fn rows(&self, recent: &[Sample]) -> [String; 5] {
        let (memory, total) = (&self.memory, self.stats.total());
        let [reserved, limit, peak] = [memory.reserved(), memory.limit(), memory.peak()].map(mib);
        let refused = total.refusals;
        let answered: u64 = recent.iter().map(|sample| sample.answered).sum();
        let slowest = recent.iter().map(|sample| sample.slowest).max().unwrap_or_default().as_secs_f64() * 1000.0;
        let thrown_out: u64 = self.tally.all_thrown_out().values().sum();
        [
            format!("{reserved} of {limit} MiB reserved, {peak} at most"),
            format!("{} connections, {} streams", self.stats.num_connections(), total.streams.open),
            format!(
                "refused {} streams by memory, {} by limit, {} by backlog",
                refused.incoming_by_memory, refused.incoming_by_limit, refused.incoming_by_backlog
            ),
            format!("threw out {thrown_out} peers"),
            format!("good peers {answered} requests/s, slowest {slowest:.1} ms, {} refused", self.tally.refusals()),
        ]
    }
}

fn last_second(record: &[Sample]) -> &[Sample] {
    &record[record.len().saturating_sub(PER_SECOND)..]
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// The table on a terminal.
struct Screen {
    bars: MultiProgress,
    rows: [ProgressBar; 5],
}

impl Screen {
    fn new(limit: u64) -> anyhow::Result<Self> {
        let bars = MultiProgress::new();
        let first = ProgressStyle::with_template("[{bar:40}] {msg}")?;
        let other = ProgressStyle::with_template("{msg}")?;
        let add = |style: &ProgressStyle| bars.add(ProgressBar::new(limit).with_style(style.clone()));
        let rows = [add(&first), add(&other), add(&other), add(&other), add(&other)];
        Ok(Self { bars, rows })
    }

    fn is_live(&self) -> bool {
        io::stderr().is_terminal()
    }

    fn show(&self, reserved: u64, rows: [String; 5]) {
        self.rows[0].set_position(reserved);
        self.rows.iter().zip(rows).for_each(|(bar, row)| bar.set_message(row));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.bars.clear();
    }
}
