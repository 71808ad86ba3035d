//! Short connections: one message, or a few, then the end in good order. Nobody has accepted what came.

use crate::cell::{Cell, Outcome};
use crate::line::Request;
use crate::peers::{Lack, Left};
use crate::support::pattern::{expect_end, receive, send};
use futures::AsyncWriteExt;
use futures::future::{join, select};
use sluicegate::wire::{Flags, Header, StreamId};
use std::pin::pin;
use std::time::Duration;

/// Bytes of a message.
const LEN: usize = 1000;
/// What an application does with a stream before it accepts the next one.
const PAUSE: Duration = Duration::from_millis(1);

/// Every other connection has four messages.
fn messages(round: usize) -> usize {
    if round.is_multiple_of(2) { 1 } else { 4 }
}

pub async fn their_message_and_close(cell: Cell) -> Outcome {
    let messages = messages(cell.round);
    let close = async {
        for seed in 0..messages {
            let there = cell.theirs.open().await;
            there.send(seed, 0, LEN).await.ok();
            there.finish().await.ok();
        }
        if cell.peer.lacks(Lack::QueueAtClose) {
            cell.note("it is closed when what it has sent has arrived");
            while cell.wire.ends_by_them() < messages {
                tokio::time::sleep(PAUSE).await;
            }
        }
        cell.theirs.ask(Request::Close(0)).await.ok();
    };
    let accept = async {
        if cell.round % 4 < 2 {
            // Nobody asks for streams before the connection is over, or a peer that waits for our end has said its last word.
            let away = async {
                while !cell.wire.said_by_them(Header::GoAway { code: 0 }) {
                    tokio::time::sleep(PAUSE).await;
                }
                tokio::time::sleep(20 * PAUSE).await;
            };
            select(pin!(cell.ours.ended()), pin!(away)).await;
        }
        for seed in 0..messages {
            tokio::time::sleep(PAUSE).await;
            let mut here = cell.ours.accept().await.expect("it came before the end");
            receive(&mut here, seed, 0, LEN).await;
            expect_end(&mut here).await;
        }
        let reason = cell.ours.accept().await.expect_err("there are no more");
        if cell.peer.lacks(Lack::GoAwayAtClose) {
            cell.note("it closes without a go-away: to streams that are open here the connection is lost");
        } else {
            assert!(reason.is_clean(), "{reason:?}");
        }
    };
    join(close, accept).await;
    Outcome::Passed
}

pub async fn our_message_and_close(cell: Cell) -> Outcome {
    let messages = messages(cell.round);
    let (mut ids, mut accepted) = (Vec::new(), Vec::new());
    for seed in 0..messages {
        let mut here = cell.ours.open().await.expect("opens");
        let write = async {
            send(&mut here, seed, 0, LEN).await.expect("open");
            here.close().await.expect("closes");
        };
        accepted.push(join(write, cell.theirs.accept()).await.1);
        ids.push(here.id());
    }
    let Cell { ours, wire, .. } = cell;
    ours.close().await.expect("closed in good order");
    for id in &ids {
        assert_eq!(wire.sent_by_us(*id), LEN, "bytes that were written have not left");
    }
    let last = StreamId::new(ids[messages - 1]).expect("not zero");
    let fin = Header::Data { id: last, flags: Flags::FIN, len: 0 };
    assert!(wire.said_by_us(fin) && wire.last_by_us(1) == [Header::GoAway { code: 0 }]);
    if cell.peer.left_at_close == Left::Nothing {
        return Outcome::Passed;
    }
    for (seed, there) in accepted.iter().enumerate() {
        there.receive(seed, 0, LEN).await.ok();
        there.end().await.ok();
    }
    Outcome::Passed
}
