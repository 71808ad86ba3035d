//! Shows progress: a table that is redrawn on a terminal, a line every ten seconds elsewhere.

use crate::HEAP;
use crate::world::World;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

/// Interval of updates, and of lines where there is no terminal.
const TICK: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(10);

/// Shows progress until it is dropped.
pub(crate) async fn show(world: &World, time: Duration) -> anyhow::Result<Infallible> {
    let (screen, live) = (Screen::new(time)?, io::stderr().is_terminal());
    let start = Instant::now();
    let mut ticks = tokio::time::interval(if live { TICK } else { LINE });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let rows = rows(world);
        if live {
            screen.show(start.elapsed(), rows);
        } else {
            eprintln!("{:6.0} s  {}", start.elapsed().as_secs_f64(), rows.join("; "));
        }
    }
}

fn rows(world: &World) -> [String; 3] {
    let counts = world.tally.counts();
    let connections = world.nodes.each_ref().map(|node| node.stats.num_connections());
    let reserved = world.nodes.iter().map(|node| node.memory.reserved()).sum();
    [
        format!(
            "{} connections, {} killed; {} MiB of heap, {} MiB reserved",
            connections[0].min(connections[1]),
            counts.kills(),
            mib(HEAP.current_usage()),
            mib(reserved)
        ),
        format!("{} streams done, {} reset, {} dropped", counts.done, counts.reset, counts.dropped),
        format!("{} MiB compared; {} streams refused, {} lost", counts.bytes >> 20, counts.refused, counts.lost),
    ]
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// The table on a terminal.
struct Screen {
    bars: MultiProgress,
    time: ProgressBar,
    rows: [ProgressBar; 3],
}

impl Screen {
    fn new(time: Duration) -> anyhow::Result<Self> {
        let bars = MultiProgress::new();
        let first = ProgressStyle::with_template("[{bar:40}] {elapsed_precise} of {msg}")?;
        let other = ProgressStyle::with_template("{msg}")?;
        let bar = bars.add(ProgressBar::new(time.as_secs()).with_style(first));
        bar.set_message(format!("{time:?}"));
        let rows = [(); 3].map(|()| bars.add(ProgressBar::no_length().with_style(other.clone())));
        Ok(Self { bars, time: bar, rows })
    }

    fn show(&self, at: Duration, rows: [String; 3]) {
        self.time.set_position(at.as_secs());
        self.rows.iter().zip(rows).for_each(|(bar, row)| bar.set_message(row));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.bars.clear();
    }
}
