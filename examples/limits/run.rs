//! One run: first the node with its good peers, then the hostile ones as well, then the result.

use crate::Options;
use crate::good;
use crate::hostile::{self, Attack};
use crate::node::{Bounds, Node};
use crate::plot;
use crate::report::Report;
use crate::tally::Tally;
use crate::watch::Watch;
use anyhow::{Context as _, bail};
use sluicegate::stats::NodeStats;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long the peers and the node may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs all of them, and shows and checks the result. Hostile peers run on the runtime `elsewhere`.
pub(crate) async fn run(options: &Options, bounds: Bounds, elsewhere: &Handle) -> anyhow::Result<()> {
    // Fail now, and not after the run, if the file cannot be written.
    let plot = options.plot.as_deref().map(create).transpose()?;
    let (stats, tally) = (NodeStats::default(), Arc::new(Tally::new()?));
    let node = Node::listen(bounds.clone(), stats.clone(), tally.clone()).await?;
    let address = node.address()?;
    let (stop, told) = oneshot::channel();
    let mut node = tokio::spawn(node.serve(told));
    let watched = Watch { memory: bounds.memory.clone(), stats: stats.clone(), tally: tally.clone() };
    let mut record = Vec::new();
    let (calm, attacked) = tokio::select! {
        times = let_loose(options, address, elsewhere, &tally) => times?,
        result = watched.record(&mut record) => {
            result?;
            bail!("nobody watches any more");
        }
        result = &mut node => {
            result??;
            bail!("the node has ended by itself");
        }
    };
    let _ = stop.send(());
    timeout(PATIENCE, node).await.context("the connections of the node do not end")???;
    let promised = bounds.promise(good::STREAMS);
    let report = Report { bounds: &bounds, promised, stats: &stats, tally: &tally, calm, attacked };
    report.print();
    if let Some(mut file) = plot {
        let memory = &bounds.memory;
        file.write_all(plot::draw(&record, memory.limit(), memory.peak(), calm)?.as_bytes())?;
    }
    report.check()
}

fn create(file: &Path) -> anyhow::Result<File> {
    File::create(file).with_context(|| format!("cannot write {}", file.display()))
}

/// Runs the peers for the duration; returns how long the good ones were alone, and how long they were not.
async fn let_loose(
    options: &Options,
    node: SocketAddr,
    elsewhere: &Handle,
    tally: &Arc<Tally>,
) -> anyhow::Result<(Duration, Duration)> {
    let (stop, stopped) = watch::channel(false);
    let mut good = JoinSet::new();
    for number in 0..u64::from(options.good) {
        good.spawn(good::run(number, node, tally.clone(), stopped.clone()));
    }
    let start = Instant::now();
    let time = Duration::from_secs(options.seconds);
    let alone = if options.hostile == 0 { time } else { time / 4 };
    all_well(&mut good, alone).await?;
    let calm = start.elapsed();
    let mut hostile = JoinSet::new();
    if options.hostile > 0 {
        tally.attack();
        for attack in Attack::ALL.into_iter().cycle().take(options.hostile.into()) {
            hostile.spawn_on(hostile::run(attack, node, tally.clone()), elsewhere);
        }
        all_well(&mut good, time - alone).await?;
    }
    // The good peers finish while the hostile ones still attack.
    let _ = stop.send(true);
    let ended = async {
        while let Some(ended) = good.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, ended).await.context("a good peer waits for an answer that does not come")??;
    let attacked = start.elapsed() - calm;
    hostile.shutdown().await;
    Ok((calm, if options.hostile == 0 { Duration::ZERO } else { attacked }))
}

/// Waits, unless a good peer fails first.
async fn all_well(good: &mut JoinSet<anyhow::Result<()>>, time: Duration) -> anyhow::Result<()> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        Some(ended) = good.join_next() => {
            ended?.context("a good peer failed")?;
            bail!("a good peer has left early");
        }
    }
}
