//! The result: the table at the end, and the checks.

use crate::growth::Growth;
use crate::watch::mib;
use crate::world::World;
use anyhow::ensure;
use std::time::Duration;

pub(crate) fn print(world: &World, growth: &Growth, took: Duration) {
    let counts = world.tally.counts();
    let (first, last) = growth.thirds();
    let [first, last] = [first, last].map(mib);
    let peaks = world.nodes.each_ref().map(|node| mib(node.memory.peak()));
    let rate = counts.done as f64 / took.as_secs_f64();
    let rows = [
        ("time", format!("{:.0} s, {} quiet points", took.as_secs_f64(), growth.points())),
        ("streams", format!("{} done ({rate:.0}/s), {} reset, {} dropped", counts.done, counts.reset, counts.dropped)),
        ("bytes", format!("{} MiB, every one compared", counts.bytes >> 20)),
        ("refused", format!("{} streams, for lack of memory", counts.refused)),
        (
            "killed",
            format!(
                "{} connections: {} cut, {} dropped, {} closed, with {} streams",
                counts.kills(),
                counts.cut,
                counts.ends_dropped,
                counts.closed,
                counts.lost
            ),
        ),
        ("most reserved", format!("{} and {} MiB", peaks[0], peaks[1])),
        ("heap", format!("{first} MiB at least in the first third, {last} MiB in the last")),
    ];
    rows.iter().for_each(|(name, value)| println!("{name:<16} {value}"));
}

/// All tasks have ended, and every connection is closed.
pub(crate) fn check(world: &World, growth: &Growth) -> anyhow::Result<()> {
    for node in &world.nodes {
        let (reserved, peak, limit) = (node.memory.reserved(), node.memory.peak(), node.memory.limit());
        ensure!(reserved == 0, "{reserved} bytes are still reserved though every connection is closed");
        ensure!(peak <= limit, "{peak} bytes were reserved, but the limit is {limit}");
        let connections = node.stats.num_connections();
        ensure!(connections == 0, "{connections} connections are still there");
    }
    let counts = world.tally.counts();
    ensure!(counts.done > 0 && counts.answered > 0, "no stream has come to its end");
    growth.check()
}
