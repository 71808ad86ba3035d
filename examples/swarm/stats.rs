//! What is counted while the example runs, and how it is shown: bars meanwhile, a table at the end.

use hdrhistogram::Histogram;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sluicegate::MemoryLimit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The counters.
#[derive(Debug)]
pub(crate) struct Stats {
    /// Bytes that have arrived and were right.
    pub(crate) bytes: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) finished: AtomicU64,
    /// Microseconds.
    pings: Mutex<Histogram<u64>>,
}

impl Stats {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            bytes: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            // Up to a minute, to three digits.
            pings: Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 3)?),
        })
    }

    pub(crate) fn record_ping(&self, time: Duration) {
        self.pings().saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn pings(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.pings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A time below which this share of the pings were answered, in milliseconds.
    fn ping_quantile(&self, quantile: f64) -> f64 {
        self.pings().value_at_quantile(quantile) as f64 / 1000.0
    }

    pub(crate) fn pings_answered(&self) -> u64 {
        self.pings().len()
    }
}

/// The progress bars. They hide themselves where there is no terminal.
pub(crate) struct Screen {
    stats: Arc<Stats>,
    memory: Arc<MemoryLimit>,
    bars: MultiProgress,
    bytes: ProgressBar,
    streams: ProgressBar,
    reserved: ProgressBar,
    pings: ProgressBar,
}

impl Screen {
    pub(crate) fn new(stats: Arc<Stats>, memory: Arc<MemoryLimit>, streams: u64, bytes: u64) -> anyhow::Result<Self> {
        let bars = MultiProgress::new();
        let bar = |length: u64, template: &str| -> anyhow::Result<ProgressBar> {
            Ok(bars.add(ProgressBar::new(length).with_style(ProgressStyle::with_template(template)?)))
        };
        Ok(Self {
            bytes: bar(bytes, "moved     [{bar:40}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}")?,
            streams: bar(streams, "streams   [{bar:40}] {pos} of {len} done, {msg}")?,
            reserved: bar(memory.limit() as u64, "reserved  [{bar:40}] {binary_bytes} of {binary_total_bytes}")?,
            pings: bar(0, "ping      {msg}")?,
            stats,
            memory,
            bars,
        })
    }

    /// Shows the counters until it is dropped.
    pub(crate) async fn show(self) {
        loop {
            let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            self.bytes.set_position(load(&self.stats.bytes));
            self.streams.set_position(load(&self.stats.finished));
            let (opened, refused) = (load(&self.stats.opened), load(&self.stats.refused));
            self.streams.set_message(format!("{opened} opened, {refused} refused"));
            self.reserved.set_position(self.memory.reserved() as u64);
            let (p50, p99) = (self.stats.ping_quantile(0.5), self.stats.ping_quantile(0.99));
            self.pings.set_message(format!("p50 {p50:.2} ms, p99 {p99:.2} ms"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.bars.clear();
    }
}

/// The table: how the nodes were set up, then what they have done.
pub(crate) fn print(setup: &[(&str, String)], stats: &Stats, memory: &MemoryLimit, took: Duration) {
    const MIB: f64 = (1 << 20) as f64;
    let seconds = took.as_secs_f64();
    let bytes = stats.bytes.load(Ordering::Relaxed) as f64;
    let (opened, refused) = (stats.opened.load(Ordering::Relaxed), stats.refused.load(Ordering::Relaxed));
    let (limit, peak) = (memory.limit() as f64, memory.peak() as f64);
    let ping = |quantile| stats.ping_quantile(quantile);
    let rows = [
        ("moved", format!("{:.1} MiB in {seconds:.2} s, every byte compared", bytes / MIB)),
        ("throughput", format!("{:.1} MB/s", bytes / seconds / 1e6)),
        ("streams", format!("{opened} opened, {refused} refused and tried again")),
        ("ping under load", format!("p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms", ping(0.5), ping(0.99), ping(1.0))),
        ("pings", stats.pings_answered().to_string()),
        (
            "peak reserved",
            format!("{:.2} MiB of {:.2} MiB allowed ({:.0} %)", peak / MIB, limit / MIB, 100.0 * peak / limit),
        ),
    ];
    for (name, value) in setup.iter().chain(&rows) {
        println!("{name:<16} {value}");
    }
}
