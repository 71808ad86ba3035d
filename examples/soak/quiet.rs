//! Quiet points: no stream is open anywhere, so no memory of a stream may remain.

use crate::HEAP;
use crate::growth::Growth;
use crate::world::{PATIENCE, World};
use anyhow::{Context as _, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Warm-up, in which buffers and tables may grow: one part in so many of the run, and its upper bound.
const WARM_UP_SHARE: u32 = 4;
const WARM_UP: Duration = Duration::from_secs(120);

/// Interval between quiet points, where the run is long enough.
const INTERVAL: Duration = Duration::from_secs(5);
/// Least and greatest number of quiet points.
const LEAST: u32 = 3;
const MOST: u32 = 36;

/// Measures the heap at quiet points, the last one at the end of the run.
pub(crate) async fn measure(world: &World, time: Duration, growth: &mut Growth) -> anyhow::Result<()> {
    let warm_up = (time / WARM_UP_SHARE).min(WARM_UP);
    let (warm, rest) = (Instant::now() + warm_up, time - warm_up);
    let points = u32::try_from(rest.as_secs() / INTERVAL.as_secs()).unwrap_or(MOST).clamp(LEAST, MOST);
    for point in 1..=points {
        sleep_until(warm + rest * point / points).await;
        growth.add(quiet(world).await?);
    }
    Ok(())
}

/// Waits until there is no stream and every connection is up; returns how many bytes are in use then.
async fn quiet(world: &World) -> anyhow::Result<usize> {
    // A transfer that is stuck reports its own timeout before this one.
    let alone = timeout(2 * PATIENCE, world.activity.write()).await.context("stuck: transfers do not end")?;
    let since = Instant::now();
    while let Some(left) = left(world) {
        ensure!(since.elapsed() < PATIENCE, "{left}, {PATIENCE:?} after the last transfer");
        sleep(Duration::from_millis(20)).await;
    }
    let heap = HEAP.current_usage();
    drop(alone);
    Ok(heap)
}

/// What is wrong at a quiet point.
fn left(world: &World) -> Option<String> {
    world.nodes.iter().find_map(|node| {
        let (connections, wanted) = (node.stats.num_connections(), world.num_places());
        let (streams, reserved) = (node.stats.total().streams.open, node.memory.reserved());
        if connections != wanted {
            return Some(format!("{connections} connections of {wanted} are there"));
        }
        if streams > 0 {
            return Some(format!("{streams} streams are open"));
        }
        (reserved > 0).then(|| format!("{reserved} bytes are reserved"))
    })
}
