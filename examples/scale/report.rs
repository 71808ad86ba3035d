//! The result: the figures, and the checks of every run.

use crate::Options;
use crate::law::{Law, Sample};
use crate::run::{Found, Work};
use crate::tally::Tally;
use crate::watch::mib;
use anyhow::ensure;
use sluicegate::MemoryLimit;

/// The least share of the slowest connection, as a part of the average divided by the number of workers. A runtime lets no
/// worker idle, but does not balance their queues: a task in the longest of `n` queues gets no less than an `n`th of the
/// average. The other half is for a loaded machine.
const LEAST: f64 = 0.5;
/// The most that the shared manager may take of the workers' time, in percent.
const MANAGER: f64 = 5.0;

/// A run that is over.
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) found: &'a Found,
    pub(crate) law: &'a Law,
    pub(crate) tally: &'a Tally,
    pub(crate) budget: &'a MemoryLimit,
    /// Bytes of the pipes, which no other figure includes.
    pub(crate) pipes: usize,
}

impl Report<'_> {
    pub(crate) fn print(&self) {
        let Self { options, law, budget, .. } = self;
        let rows = [
            ("connections", format!("{} with {} streams each", options.connections, options.streams)),
            ("pipes", format!("{} MiB, which are not counted below", mib(self.pipes))),
        ];
        let [heap, reserved, limit] = [law.most(), budget.peak(), budget.limit()].map(mib);
        let all = [
            ("most", format!("heap {heap} MiB, reserved {reserved} of {limit} MiB")),
            ("the law", format!("at most {} bytes an end beside 1.1 x reserved, {} looks", law.beside(), law.checks())),
            ("moved", self.moved()),
            ("fairness", self.fairness()),
            ("the manager", self.manager()),
        ];
        let rows = rows.into_iter().chain(self.held()).chain(all);
        rows.for_each(|(name, value)| println!("{name:<12} {value}"));
    }

    /// The heap of idle connections, and what had made it grow.
    fn held(&self) -> [(&'static str, String); 4] {
        let Found { connected, opened, worked, asked, .. } = self.found;
        let (ends, stream_ends, busy) = (self.options.ends(), self.options.stream_ends(), 2 * self.options.busy());
        let row = |now: &Sample, before: usize, by: usize, what: &str| {
            let more = now.heap.saturating_sub(before) / by;
            format!("heap {} MiB, reserved {} MiB: {more} bytes {what}", mib(now.heap), mib(now.reserved))
        };
        [
            ("connected", row(connected, 0, ends, "an end of a connection")),
            ("opened", row(opened, connected.heap, stream_ends, "more an end of a stream")),
            ("worked", row(worked, opened.heap, busy, "more an end of a busy connection")),
            ("asked", row(asked, worked.heap, ends - busy, "more an end of an idle connection")),
        ]
    }

    fn moved(&self) -> String {
        let (busy, seconds) = (self.options.busy(), self.found.work.time.as_secs_f64());
        let mib = (u128::from(self.options.share()) * busy as u128) >> 20;
        let rate = mib as f64 / seconds;
        format!("{mib} MiB by {busy} connections in {seconds:.1} s, every byte compared: {rate:.0} MiB/s")
    }

    fn manager(&self) -> String {
        let Work { calls, busy, .. } = &self.found.work;
        let (share, busy) = (self.found.work.manager(), busy.as_secs_f64());
        format!("{} calls ({} refused), {share:.2} % of {busy:.1} s of the workers", calls.number, calls.refused)
    }

    fn fairness(&self) -> String {
        let spread = self.found.work.spread;
        let [least, most] = [spread.least, spread.most].map(|bytes| bytes as f64 / spread.mean());
        let [first, last] = self.tally.finished().map(|took| took.as_secs_f64());
        format!("{least:.2} to {most:.2} of the mean when half was done; all was done after {first:.1} to {last:.1} s")
    }

    /// The checks at the end. The run itself has checked every byte, every stream and the bound of the heap.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (work, left) = (&self.found.work, self.budget.reserved());
        let least = work.spread.least as f64 / work.spread.mean();
        ensure!(
            least >= LEAST / self.options.workers as f64,
            "a connection starves: it got {least:.2} of what the others got on the average"
        );
        let share = work.manager();
        ensure!(share <= MANAGER, "{share:.1} % of the time went to the shared manager");
        ensure!(left == 0, "{left} bytes are still reserved though every connection is closed");
        Ok(())
    }
}

impl Work {
    /// What the manager took of the workers' time, in percent.
    fn manager(&self) -> f64 {
        100.0 * self.calls.time.as_secs_f64() / self.busy.as_secs_f64()
    }
}
