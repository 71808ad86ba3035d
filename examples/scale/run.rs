//! One run: all connections, then their streams, then data on half of them, then a few bytes on every stream.

use crate::Options;
use crate::law::{Law, Sample, live};
use crate::manager::{Calls, Clocked};
use crate::pair::Pair;
use crate::pipe::{Pipe, pipe};
use crate::report::Report;
use crate::tally::{Spread, Tally};
use crate::watch::{Part, watch};
use anyhow::{Context as _, bail};
use sluicegate::{Config, MemoryLimit};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Bytes that every stream sends and receives at the end.
const WORD: u64 = 64;
/// How long all connections together may take for a part of the run.
const PATIENCE: Duration = Duration::from_secs(900);
/// Interval at which progress is read.
const INTERVAL: Duration = Duration::from_millis(10);
/// Time after which idle connections have given back their free lists.
const SETTLE: Duration = Duration::from_secs(2);

/// The measurements of a run.
pub(crate) struct Found {
    /// Samples with all connections idle: without streams, with streams that had moved nothing, after half of the
    /// connections had been busy, and after all streams had moved data.
    pub(crate) connected: Sample,
    pub(crate) opened: Sample,
    pub(crate) worked: Sample,
    pub(crate) asked: Sample,
    pub(crate) work: Work,
}

/// The work of the busy half of the connections, and its cost.
pub(crate) struct Work {
    pub(crate) time: Duration,
    /// The shares when half of the work was done.
    pub(crate) spread: Spread,
    /// Calls of the manager, and the time for which the workers were busy.
    pub(crate) calls: Calls,
    pub(crate) busy: Duration,
}

/// A run and what it needs.
struct Run<'a> {
    options: &'a Options,
    config: Config,
    manager: Arc<Clocked>,
    tally: Arc<Tally>,
    law: &'a Law,
    part: &'a Part,
}

/// Runs, prints the result, and checks it.
pub(crate) async fn run(options: &Options, budget: Arc<MemoryLimit>) -> anyhow::Result<()> {
    let (manager, tally) = (Arc::new(Clocked::new(budget.clone())), Arc::new(Tally::new(options.busy())));
    // Both ends run on the same threads, so answers take as long as their queues are.
    let config = options.receive_charge.builder().memory(manager.clone()).connection_write_timeout(PATIENCE).build()?;
    // Everything that is not part of a connection is allocated before counting begins.
    let without = live();
    let pipes: Vec<_> = (0..options.connections).map(|_| pipe(options.pipe)).collect();
    let pipes_hold = live() - without;
    let (law, part) = (Law::new(options.ends(), options.beside, budget.clone()), Part::default());
    let run = Run { options, config, manager, tally: tally.clone(), law: &law, part: &part };
    let found = tokio::select! {
        found = run.through(pipes) => found?,
        broken = watch(&part, &law, &tally) => {
            broken?;
            bail!("nobody watches any more");
        }
    };
    let report = Report { options, found: &found, law: &law, tally: &tally, budget: &budget, pipes: pipes_hold };
    report.print();
    report.check()
}

impl Run<'_> {
    async fn through(&self, pipes: Vec<(Pipe, Pipe)>) -> anyhow::Result<Found> {
        let connecting =
            pipes.into_iter().enumerate().map(|(number, pipe)| Pair::connect(number, pipe, self.config.clone()));
        let pairs = all(connecting).await.context("cannot connect")?;
        let connected = self.settle().await?;
        self.part.next();
        let streams = self.options.streams;
        let pairs = all(pairs.into_iter().map(|pair| pair.open(streams))).await.context("cannot open")?;
        let opened = self.settle().await?;
        self.part.next();
        let (pairs, work) = self.work(pairs).await?;
        let worked = self.settle().await?;
        self.part.next();
        let pairs = all(pairs.into_iter().map(|pair| pair.exchange(WORD))).await.context("not every stream lives")?;
        let asked = self.settle().await?;
        self.part.next();
        all(pairs.into_iter().map(Pair::close)).await?;
        Ok(Found { connected, opened, worked, asked, work })
    }

    /// Half of the connections move their data, and the others are silent meanwhile.
    async fn work(&self, pairs: Vec<Pair>) -> anyhow::Result<(Vec<Pair>, Work)> {
        let (stop, stopped) = signal::channel(false);
        let (mut at_work, mut at_rest) = (JoinSet::new(), JoinSet::new());
        let (start, calls, busy) = (Instant::now(), self.manager.calls(), busy());
        for pair in pairs {
            if pair.number() < self.options.busy() {
                at_work.spawn(pair.work(self.options.rounds, self.options.round as u64, self.tally.clone()));
            } else {
                at_rest.spawn(pair.rest(stopped.clone()));
            }
        }
        let (mut pairs, spread) = tokio::try_join!(joined(at_work), self.halfway()).context("a connection starves")?;
        let (time, calls) = (start.elapsed(), self.manager.calls().since(calls));
        let work = Work { time, spread, calls, busy: self::busy() - busy };
        stop.send(true)?;
        pairs.extend(joined(at_rest).await?);
        Ok((pairs, work))
    }

    /// Waits until half of all data has been moved; returns how evenly. By then no connection need be done, and each has had
    /// the time.
    async fn halfway(&self) -> anyhow::Result<Spread> {
        let half = self.options.share() * self.options.busy() as u64 / 2;
        loop {
            sleep(INTERVAL).await;
            let spread = self.tally.spread();
            if spread.sum >= half {
                return Ok(spread);
            }
        }
    }

    async fn settle(&self) -> anyhow::Result<Sample> {
        sleep(SETTLE).await;
        self.law.check()
    }
}

/// The busy time of all workers together.
fn busy() -> Duration {
    let metrics = Handle::current().metrics();
    (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker)).sum()
}

/// Runs all concurrently, each in a task of its own.
async fn all<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = anyhow::Result<T>> + Send + 'static>,
) -> anyhow::Result<Vec<T>> {
    joined(work.collect()).await
}

async fn joined<T: 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut results = Vec::with_capacity(tasks.len());
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            results.push(ended??);
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, ended).await.context("it takes too long")??;
    Ok(results)
}
