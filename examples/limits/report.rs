//! The result of a run: the table at the end, and the checks of every run.

use crate::node::Bounds;
use crate::tally::{Part, Tally};
use crate::watch::mib;
use anyhow::ensure;
use sluicegate::stats::{ConnectionStats, NodeStats};
use std::time::Duration;

/// A run that is over.
pub(crate) struct Report<'a> {
    pub(crate) bounds: &'a Bounds,
    /// Whether the settings guarantee that every good peer is served.
    pub(crate) promised: bool,
    pub(crate) stats: &'a NodeStats,
    pub(crate) tally: &'a Tally,
    pub(crate) calm: Duration,
    pub(crate) attacked: Duration,
}

impl Report<'_> {
    pub(crate) fn print(&self) {
        let Self { bounds, stats, tally, .. } = self;
        let memory = &bounds.memory;
        let total = stats.total();
        let [limit, share, peak] = [memory.limit(), bounds.share, memory.peak()].map(mib);
        let promised = if self.promised { "room for every good peer" } else { "no promise to good peers" };
        let full = 100.0 * memory.peak() as f64 / memory.limit() as f64;
        let thrown_out = tally.all_thrown_out();
        let reasons: Vec<_> = thrown_out.iter().map(|(why, count)| format!("{count} for {why}")).collect();
        let mut rows = vec![
            ("memory", format!("{limit} MiB, of which a connection may have {share}: {promised}")),
            ("most reserved", format!("{peak} of {limit} MiB ({full:.0} %), {} bytes in the end", memory.reserved())),
            ("calm", self.answers(Part::Calm, self.calm)),
            ("bulk", format!("{} MiB came back, every byte compared", tally.bulk() >> 20)),
            ("good, refused", format!("{} streams, tried again", tally.refusals())),
        ];
        if !self.attacked.is_zero() {
            let frames = total.received.frames();
            rows.insert(3, ("under attack", self.answers(Part::Attacked, self.attacked)));
            rows.extend([
                ("attack", format!("{} connections; the node took {frames} frames in all", tally.attacks())),
                ("refused", refused(&total)),
                ("thrown out", if reasons.is_empty() { "nobody".into() } else { reasons.join(", ") }),
            ]);
        }
        rows.iter().for_each(|(name, value)| println!("{name:<16} {value}"));
    }

    /// Service of the good peers in one part of the run.
    fn answers(&self, part: Part, time: Duration) -> String {
        let times = self.tally.times(part);
        let rate = times.len() as f64 / time.as_secs_f64();
        let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        let [p50, p99, slowest] = [0.5, 0.99, 1.0].map(ms);
        format!("{rate:.0} requests/s, p50 {p50:.2} ms, p99 {p99:.2} ms, slowest {slowest:.1} ms")
    }

    /// The checks. Wrong answers need none: the first one ends the run.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let memory = &self.bounds.memory;
        let (limit, peak, left) = (memory.limit(), memory.peak(), memory.reserved());
        ensure!(peak <= limit, "{peak} bytes were reserved, but the limit is {limit}");
        ensure!(left == 0, "{left} bytes are still reserved though every connection is closed");
        let open = self.stats.num_connections();
        ensure!(open == 0, "{open} connections are still there");
        let refused = self.tally.refusals();
        ensure!(
            refused == 0 || !self.promised,
            "{refused} streams of good peers were refused, in spite of the promise"
        );
        if self.promised {
            let attacked = self.attacked.is_zero() || !self.tally.times(Part::Attacked).is_empty();
            ensure!(attacked && !self.tally.times(Part::Calm).is_empty(), "no request was answered");
        }
        Ok(())
    }
}

fn refused(total: &ConnectionStats) -> String {
    let refused = total.refusals;
    format!(
        "{} streams by memory, {} by limit, {} by backlog; {} larger windows, {} larger send buffers",
        refused.incoming_by_memory,
        refused.incoming_by_limit,
        refused.incoming_by_backlog,
        refused.windows,
        refused.send_buffers
    )
}
