//! Watches a run: checks the bound of the heap all the time, and shows progress on a terminal or as a line a second.

use crate::law::{Law, Sample};
use crate::tally::Tally;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Interval of samples.
const INTERVAL: Duration = Duration::from_millis(10);
/// Samples a second.
const PER_SECOND: u32 = 100;

/// The parts of a run, in their order.
const PARTS: [&str; 5] = ["connecting", "opening streams", "at work", "asking all", "closing"];

/// How far a run has come.
#[derive(Default)]
pub(crate) struct Part(AtomicUsize);

impl Part {
    pub(crate) fn next(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn name(&self) -> &'static str {
        PARTS[self.0.load(Ordering::Relaxed).min(PARTS.len() - 1)]
    }
}

/// Runs until it is dropped or the bound is exceeded.
pub(crate) async fn watch(part: &Part, law: &Law, tally: &Tally) -> anyhow::Result<()> {
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    let (start, is_live) = (Instant::now(), io::stderr().is_terminal());
    let mut ticks = tokio::time::interval(INTERVAL);
    for look in 1_u32.. {
        ticks.tick().await;
        let sample = law.check()?;
        if is_live {
            bar.set_message(line(part, sample, tally));
            bar.tick();
        } else if look.is_multiple_of(PER_SECOND) {
            eprintln!("{:4.1} s  {}", start.elapsed().as_secs_f64(), line(part, sample, tally));
        }
    }
    Ok(())
}

fn line(part: &Part, sample: Sample, tally: &Tally) -> String {
    let (heap, reserved, moved) = (mib(sample.heap), mib(sample.reserved), tally.spread().sum >> 20);
    format!("{:<16} heap {heap} MiB, reserved {reserved} MiB, moved {moved} MiB", part.name())
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
