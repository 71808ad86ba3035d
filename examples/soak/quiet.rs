//! Quiet points: no stream is open anywhere, and so nothing may be left of any.

use crate::HEAP;
use crate::growth::Growth;
use crate::world::{PATIENCE, World};
use anyhow::{Context as _, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Buffers and tables grow at first, as they should: the part of the time that they have for it, and the most.
const WARM_UP_SHARE: u32 = 4;
const WARM_UP: Duration = Duration::from_secs(120);

/// Between two quiet points, if there is time for it.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often at least, and at most.
const LEAST: u32 = 3;
const MOST: u32 = 36;

/// Measures the heap at quiet points, the last of which is at the end of the time.
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

/// Waits until nothing goes on and all connections are there, and says how many bytes are in use then.
async fn quiet(world: &World) -> anyhow::Result<usize> {
    // Whoever is stuck in a transfer says so himself before that.
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

/// What is not as it should be when nothing goes on.
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
