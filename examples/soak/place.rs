//! A slot for a connection: a connection that ends is replaced, and always has streams.

use crate::answer::answer;
use crate::link::{Driver, Link};
use crate::transfer::Transfer;
use crate::trouble::Trouble;
use crate::world::{PATIENCE, World};
use anyhow::{Context as _, ensure};
use rand::RngExt as _;
use rand::rngs::StdRng;
use sluicegate::ConnectionError;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Longest pause between two transfers.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the slot filled until the run is over.
pub(crate) async fn keep(world: Arc<World>, place: usize) -> anyhow::Result<()> {
    let mut rng = world.rng(place as u64);
    while !world.is_stopped() {
        let (link, drivers) = Link::establish(&world, place).await?;
        let link = Arc::new(link);
        world.put(place, Some(link.clone()));
        let lived = live(&world, &link, drivers, &mut rng).await;
        world.put(place, None);
        lived.with_context(|| link.to_string())?;
    }
    Ok(())
}

/// Opens and accepts streams until the connection is killed or the run is over. Then all tasks of the connection must end.
async fn live(world: &Arc<World>, link: &Arc<Link>, drivers: [Driver; 2], rng: &mut StdRng) -> anyhow::Result<()> {
    let (mut openers, mut acceptors) = (JoinSet::new(), JoinSet::new());
    for end in 0..link.ends.len() {
        acceptors.spawn(accept(world.clone(), link.clone(), end));
        for _ in 0..world.streams {
            openers.spawn(open(world.clone(), link.clone(), end, world.rng(rng.random())));
        }
    }
    loop {
        tokio::select! {
            Some(ended) = acceptors.join_next() => ended??,
            ended = openers.join_next() => match ended {
                Some(ended) => ended??,
                None => break,
            },
        }
    }
    let killed = link.is_doomed();
    if !killed {
        link.doom();
        let closed = timeout(PATIENCE, link.ends[0].close()).await.context("stuck: to close")?;
        closed.context("it does not close in good order")?;
    }
    let ended = async {
        while let Some(ended) = acceptors.join_next().await {
            ended??;
        }
        for driver in drivers {
            let driven = driver.await;
            if !killed {
                driven?.context("it does not end in good order")?;
            }
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, ended).await.context("stuck: the streams that were accepted, after the end")?
}

/// Opens streams one after the other.
async fn open(world: Arc<World>, link: Arc<Link>, end: usize, mut rng: StdRng) -> anyhow::Result<()> {
    let session = &link.ends[end];
    loop {
        let pause = PAUSE.mul_f64(rng.random());
        let active = async {
            sleep(pause).await;
            world.activity.read().await
        };
        let _active = tokio::select! {
            reason = session.closed() => return still_wanted(&link, &reason),
            () = world.stopped() => return Ok(()),
            active = active => active,
        };
        let transfer = Transfer::random(&mut rng);
        match transfer.carry_out(session).await {
            Ok(()) => world.tally.done(transfer.manner),
            Err(Trouble::Refused) => world.tally.refused(),
            Err(trouble) if link.is_doomed() && trouble.comes_of_a_kill() => world.tally.lost(),
            Err(trouble) => return Err(trouble.into_error().context(transfer.to_string())),
        }
    }
}

/// A connection may end only because it was killed.
fn still_wanted(link: &Link, reason: &ConnectionError) -> anyhow::Result<()> {
    ensure!(link.is_doomed(), "nobody has killed the connection: {reason}");
    Ok(())
}

/// Accepts streams until the connection is over, and serves each to its end.
async fn accept(world: Arc<World>, link: Arc<Link>, end: usize) -> anyhow::Result<()> {
    let mut answers = JoinSet::new();
    let reason = loop {
        tokio::select! {
            accepted = link.ends[end].accept() => match accepted {
                Ok(stream) => drop(answers.spawn(answer(stream))),
                Err(reason) => break reason,
            },
            Some(answered) = answers.join_next() => settle(&world, &link, answered?)?,
        }
    };
    while let Some(answered) = answers.join_next().await {
        settle(&world, &link, answered?)?;
    }
    still_wanted(&link, &reason)
}

fn settle(
    world: &World,
    link: &Link,
    (transfer, result): (Option<Transfer>, Result<(), Trouble>),
) -> anyhow::Result<()> {
    match result {
        Ok(()) => {
            world.tally.answered(transfer.map_or(0, |transfer| transfer.compared()));
            Ok(())
        }
        Err(trouble) if link.is_doomed() && trouble.comes_of_a_kill() => Ok(()),
        Err(trouble) => Err(match transfer {
            Some(transfer) => trouble.into_error().context(format!("who accepted {transfer}")),
            None => trouble.into_error().context("who accepted a stream"),
        }),
    }
}
