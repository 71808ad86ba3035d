//! The task that accepts streams and has each of them served, early, late, or with futures that are left.

use crate::apps;
use crate::chance::Chance;
use crate::end::End;
use futures::future::{self, Either};
use futures::poll;
use sluicegate::{ConnectionError, Session, Stream};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub enum Acceptor {
    Eager,
    /// It takes its time for each.
    Slow,
    Late(Duration),
    /// Only when the connection is over.
    AfterEnd,
    /// One `accept` is asked for and left, others are asked for beside it.
    Kept,
}

pub async fn accept(manner: Acceptor, end: Rc<End>, mut chance: Chance) {
    match manner {
        Acceptor::Late(time) => end.world.sleep(time).await,
        Acceptor::AfterEnd => {
            let Ok(session) = end.session() else { return };
            end.world.op_patiently("the end of the connection", session.closed()).await;
        }
        Acceptor::Eager | Acceptor::Slow | Acceptor::Kept => {}
    }
    let Ok(session) = end.session() else { return };
    let accepting = pin!(accept_all(manner, &end, session, &mut chance));
    let leaving = pin!(end.leaving.raised());
    if let Either::Left((reason, _)) = future::select(accepting, leaving).await {
        end.check_end(&reason);
    }
}

async fn accept_all(manner: Acceptor, end: &Rc<End>, session: Session, chance: &mut Chance) -> ConnectionError {
    if let Acceptor::Kept = manner {
        let mut kept = pin!(session.accept());
        if let Poll::Ready(accepted) = poll!(&mut kept) {
            match accepted {
                Ok(stream) => serve(stream, end, chance),
                Err(reason) => return reason,
            }
        } else {
            for _ in 0..chance.below(8) {
                match end.world.op_patiently("an accept beside one that is left", session.accept()).await {
                    Ok(stream) => serve(stream, end, chance),
                    Err(reason) => return reason,
                }
            }
            if chance.of(2) {
                match end.world.op_patiently("an accept that was left for some time", kept).await {
                    Ok(stream) => serve(stream, end, chance),
                    Err(reason) => return reason,
                }
            }
        }
    }
    loop {
        match end.world.op_patiently("accept", session.accept()).await {
            Ok(stream) => serve(stream, end, chance),
            Err(reason) => return reason,
        }
        if let Acceptor::Slow = manner {
            end.world.sleep(chance.millis(20)).await;
        }
    }
}

fn serve(stream: Stream, end: &Rc<End>, chance: &mut Chance) {
    let (stream, plan) = end.accepted(stream);
    let (served_by, mut chance) = (end.clone(), chance.fork());
    end.serving.set(end.serving.get() + 1);
    end.world.spawn(format!("end {} serving {:?} {}", end.side, plan.kind, stream.id()), async move {
        let _ = apps::serve(plan, stream, &served_by, &mut chance).await;
        served_by.serving.set(served_by.serving.get() - 1);
    });
}
