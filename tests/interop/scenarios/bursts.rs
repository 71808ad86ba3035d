//! Much at once, from a peer that is honest.

use super::data::{echo, finish, they_ask, they_finish, we_ask};
use crate::cell::{Cell, Outcome};
use crate::line::{Answer, Request};
use crate::peers::Lack;
use crate::support::outcome::stream_error;
use crate::support::pattern::send;
use crate::theirs::There;
use futures::future::{Either, join, join_all, select};
use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt, FutureExt, StreamExt};
use sluicegate::{Session, Side, Stream, StreamError};
use std::pin::pin;
use std::time::Duration;
use tokio::task::JoinSet;

const PINGS: usize = 40;
/// What is opened meanwhile comes at once, and nobody accepts it at once.
const MOMENT: Duration = Duration::from_millis(100);

pub async fn their_pings(cell: Cell) -> Outcome {
    if cell.peer.lacks(Lack::PingCall) {
        return Outcome::Cannot("its API has no call for a ping".into());
    }
    cell.proxy().stand_still();
    let before = cell.wire.pings_by_them();
    let pings = join_all((0..PINGS).map(|_| cell.theirs.ask(Request::Ping)));
    let (answers, ()) = join(pings, go_on(&cell)).await;
    for answer in answers {
        match answer {
            Answer::Ok(_) => {}
            other => return other.into(),
        }
    }
    let pings = cell.wire.pings_by_them() - before;
    if pings < PINGS {
        cell.note("calls for a ping share one that is under way");
    }
    alive(&cell).await
}

pub async fn our_pings(cell: Cell<Session>) -> Outcome {
    for answer in join_all((0..PINGS).map(|_| cell.ours.ping())).await {
        answer.expect("answered");
    }
    let ask = async {
        let there = cell.theirs.open().await;
        there.exchange((1, 1000), (1, 1000)).await;
    };
    join(ask, async { echo(cell.ours.accept().await.expect("accepts")).await }).await;
    Outcome::Passed
}

pub async fn they_open_too_many(cell: Cell) -> Outcome {
    let streams = cell.peer.at_once;
    if streams < 2400 {
        cell.note("as many as it opens: 500, or 256");
    }
    cell.proxy().stand_still();
    let ask = async {
        let opened = join_all((0..streams).map(|seed| they_open(&cell, seed))).await;
        let open: Vec<_> = opened.iter().flatten().collect();
        join_all(open.iter().map(|stream| they_finish(stream))).await;
        open.len()
    };
    let answer = async {
        go_on(&cell).await;
        tokio::time::sleep(MOMENT).await;
        let mut answers = JoinSet::new();
        loop {
            let stream = cell.ours.accept().await.expect("the connection lives");
            answers.spawn(echo(stream));
        }
    };
    let open = match select(pin!(ask), pin!(answer)).await {
        Either::Left((open, _)) => open,
        Either::Right((never, _)) => never,
    };
    let refused = cell.stats.total().refusals.incoming() as usize;
    assert_eq!(open + refused, streams, "{open} streams were answered and {refused} refused");
    alive(&cell).await
}

/// A stream that has been answered; none where it was refused.
async fn they_open(cell: &Cell, seed: usize) -> Option<There<'_>> {
    let stream = cell.theirs.try_open().await.ok()?;
    if !stream.send(seed, 0, 1).await.is_ok() {
        return None;
    }
    match stream.receive(seed, 0, 1).await {
        Answer::Ok(_) => Some(stream),
        differs @ Answer::Differs { .. } => panic!("{differs:?}"),
        _ => None,
    }
}

pub async fn we_open_too_many(cell: Cell) -> Outcome {
    let streams = cell.peer.takes_at_once;
    if streams < 2400 {
        cell.note("500 streams: beyond 512 it ends the connection");
    }
    let ask = async {
        let opened = join_all((0..streams).map(|seed| we_open(&cell, seed))).await;
        let open: Vec<_> = opened.into_iter().flatten().collect();
        let answered = open.len();
        join_all(open.into_iter().map(finish)).await;
        if answered < streams {
            cell.note("it resets those beyond what it allows at once");
        }
        answered
    };
    let answer = async {
        tokio::time::sleep(MOMENT).await;
        let answers = (0..streams).map(|_| async { cell.theirs.accept().await.echo().await });
        answers.collect::<FuturesUnordered<_>>().for_each(|_| async {}).await;
    };
    let (mut answer, alive) = (pin!(answer.fuse()), async {
        let answered = ask.await;
        assert!(answered >= streams.min(cell.peer.streams), "{answered} of {streams} streams were answered");
        cell.ours.ping().await.expect("the connection lives");
        they_ask(&cell, 1 << 20).await;
    });
    let mut alive = pin!(alive.fuse());
    loop {
        futures::select! {
            () = alive => return Outcome::Passed,
            () = answer => {}
        }
    }
}

/// A stream that has been answered; none where the peer has reset it.
async fn we_open(cell: &Cell, seed: usize) -> Option<Stream> {
    let mut stream = cell.ours.open().await.expect("the connection lives");
    let answered = async {
        send(&mut stream, seed, 0, 1).await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        Ok(byte)
    };
    let answered: std::io::Result<_> = answered.await;
    match answered {
        Ok(byte) => {
            assert_eq!(byte[..], crate::support::pattern::at(seed, 0)[..1]);
            Some(stream)
        }
        Err(error) => match stream_error(&error) {
            StreamError::Reset { by: Side::Remote, .. } => None,
            other => panic!("{other:?}"),
        },
    }
}

/// The proxy goes on after a moment.
async fn go_on(cell: &Cell) {
    tokio::time::sleep(MOMENT).await;
    cell.proxy().go_on();
}

async fn alive(cell: &Cell) -> Outcome {
    we_ask(cell, 1 << 20).await;
    they_ask(cell, 1 << 20).await;
    Outcome::Passed
}
