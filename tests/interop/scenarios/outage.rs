//! A path that is out for a while, and then goes on.

use super::data::{echo, they_ask, we_ask};
use crate::cell::{Cell, Outcome};
use crate::peers::Lack;
use crate::support::pattern::{expect_end, receive, send};
use futures::AsyncWriteExt;
use futures::future::join;
use std::time::Duration;

const OUTAGE: Duration = Duration::from_secs(12);

pub async fn outage(cell: Cell) -> Outcome {
    if cell.round == 0 {
        in_the_middle(&cell).await;
    } else {
        out(&cell).await;
    }
    cell.ours.ping().await.expect("answered");
    we_ask(&cell, 1 << 20).await;
    they_ask(&cell, 1 << 20).await;
    Outcome::Passed
}

/// Echoes both ways, with the outage when half of them is done.
async fn in_the_middle(cell: &Cell) {
    let half = if cell.peer.lacks(Lack::WaitingForCredit) {
        cell.note("200 KiB, less than a window: a writer of its gives up after 5 s without credit");
        100 << 10
    } else {
        512 << 10
    };
    let len = 2 * half;
    let mut here = cell.ours.open().await.expect("opens");
    send(&mut here, 1, 0, 1).await.expect("open");
    let there_echo = cell.theirs.accept().await;
    let ours = async {
        let (mut reader, mut writer) = futures::AsyncReadExt::split(&mut here);
        join(async { send(&mut writer, 1, 1, half).await.expect("open") }, receive(&mut reader, 1, 0, half)).await;
        (reader, writer)
    };
    let there = cell.theirs.open().await;
    let theirs = async {
        let (sent, received) = join(there.send(2, 0, half), there.receive(2, 0, half)).await;
        sent.ok();
        received.ok();
    };
    let answer = async { echo(cell.ours.accept().await.expect("accepts")).await };
    let ask = async {
        let ((mut reader, mut writer), ()) = join(ours, theirs).await;
        let ours = async {
            let write = async {
                send(&mut writer, 1, half, len).await.expect("open");
                writer.close().await.expect("closes");
            };
            let read = async {
                receive(&mut reader, 1, half, len).await;
                expect_end(&mut reader).await;
            };
            join(write, read).await;
        };
        let theirs = async {
            let (sent, received) = join(there.send(2, half, len), there.receive(2, half, len)).await;
            sent.ok();
            received.ok();
            there.finish().await.ok();
            there.end().await.ok();
        };
        futures::join!(out(cell), ours, theirs);
    };
    let (echoed, ..) = futures::join!(there_echo.echo(), answer, ask);
    assert_eq!(echoed.values(), [len.to_string()]);
}

/// Nothing crosses for a while, and a ping is under way meanwhile.
async fn out(cell: &Cell) {
    cell.proxy().stand_still();
    let end = async {
        tokio::time::sleep(OUTAGE).await;
        cell.proxy().go_on();
    };
    // It may time out, which is no more than that.
    let _ = join(cell.ours.ping(), end).await;
}
