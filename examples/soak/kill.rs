//! The task that kills connections.

use crate::link::Kill;
use crate::world::World;
use rand::RngExt as _;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

/// Kills connections at random, at this rate per minute, until it is dropped.
pub(crate) async fn kill(world: &World, per_minute: u32) -> Infallible {
    let mut rng = world.rng(u64::MAX);
    let Some(interval) = Duration::from_secs(60).checked_div(per_minute) else { return pending().await };
    loop {
        tokio::time::sleep(interval.mul_f64(rng.random_range(0.0..2.0))).await;
        let _active = world.activity.read().await;
        let (place, how) = (rng.random_range(0..world.num_places()), Kill::random(&mut rng));
        if let Some(link) = world.link(place).filter(|link| !link.is_doomed()) {
            link.kill(how);
            world.tally.killed(how);
        }
    }
}
