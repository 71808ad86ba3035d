//! Pings: many at once, and some that are asked for and left.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use futures::future::join_all;
use futures::poll;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

pub async fn run(end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    for _ in 0..=chance.below(3) {
        let count = chance.pick(&[1, 2, 40, 200]);
        let pings = (0..count).map(|_| end.ping());
        join_all(pings).await.into_iter().collect::<io::Result<()>>()?;
        end.world.sleep(chance.millis(50)).await;
    }
    Ok(())
}

/// Futures that were polled once hold up nobody who asks for the same.
pub async fn keep(end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let session = end.session()?;
    let start = end.world.now();
    let mut ping = pin!(session.ping());
    let mut pinged = poll!(&mut ping);
    let mut open = pin!(session.open());
    // What is open may be seen by the peer at once, used or not.
    let plan = Plan::new(Kind::Echo, 0, 0);
    let mut opened = match poll!(&mut open) {
        Poll::Ready(opened) => Some(end.opened(opened, plan)?),
        Poll::Pending => None,
    };
    for _ in 0..=chance.below(3) {
        end.ping().await?;
        let bytes = end.amount(chance);
        let mut stream = end.open(Plan::new(Kind::Echo, bytes, bytes)).await?;
        let id = stream.id();
        put(&mut stream, id, (0, bytes.min(1_000)), end, chance).await?;
        close(&mut stream, end).await?;
        drain(&mut stream, end, chance).await?;
    }
    if chance.of(2) {
        if pinged.is_pending() {
            pinged = Poll::Ready(end.world.op("a ping that was left for some time", ping).await);
        }
        if opened.is_none() {
            opened = Some(end.opened(end.world.op("an open that was left for some time", open).await, plan)?);
        }
    }
    if let Poll::Ready(result) = pinged {
        end.pinged(result, start)?;
    }
    drop(opened);
    Ok(())
}
