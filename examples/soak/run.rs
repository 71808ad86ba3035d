//! One run: starts all tasks, watches them, and stops them.

use crate::Options;
use crate::growth::Growth;
use crate::kill::kill;
use crate::place::keep;
use crate::quiet::measure;
use crate::report;
use crate::watch::show;
use crate::world::{PATIENCE, World};
use anyhow::{Context as _, bail};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) async fn run(options: &Options, budget: usize) -> anyhow::Result<()> {
    let world = Arc::new(World::new(options, budget).await?);
    let mut places = JoinSet::new();
    for place in 0..world.num_places() {
        places.spawn(keep(world.clone(), place));
    }
    let (start, mut growth) = (Instant::now(), Growth::default());
    tokio::select! {
        measured = measure(&world, options.duration, &mut growth) => measured?,
        Some(ended) = places.join_next() => {
            ended??;
            bail!("a place for a connection was given up");
        }
        shown = show(&world, options.duration) => match shown? {},
        never = kill(&world, options.kills) => match never {},
    }
    world.stop();
    let ended = async {
        while let Some(ended) = places.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    timeout(2 * PATIENCE, ended).await.context("stuck: the connections do not end")??;
    report::print(&world, &growth, start.elapsed());
    report::check(&world, &growth)?;
    println!("ok");
    Ok(())
}
