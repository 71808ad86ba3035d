//! Windows: back-pressure, and growth.

use super::WINDOW;
use crate::cell::{Cell, Outcome};
use crate::peers::Lack;
use crate::support::pattern::{expect_end, receive, send, send_until_pending};
use futures::AsyncWriteExt;
use futures::future::join;
use std::time::Duration;

/// Four windows.
const LEN: usize = 1 << 20;

pub async fn slow_reader_there(cell: Cell) -> Outcome {
    let mut here = cell.ours.open().await.expect("opens");
    let sent = send_until_pending(&mut here, 0, 0, usize::MAX).await;
    assert_eq!(sent, WINDOW, "our writer takes what the peer has room for, and then waits");
    let there = cell.theirs.accept().await;
    // The peer has had all of it, and still nobody reads.
    if cell.peer.lacks(Lack::ReadingOn) {
        cell.note("no ping is waited for: an unread stream holds its session back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    } else {
        cell.ours.ping().await.expect("answered");
        assert_eq!(cell.wire.sent_by_us(here.id()), WINDOW);
    }
    let ahead = send_until_pending(&mut here, 0, sent, usize::MAX).await - sent;
    assert!(ahead <= cell.peer.reads_ahead, "there was credit for {ahead} bytes that nobody read");
    if cell.peer.reads_ahead > 0 {
        cell.note("it reads up to 64 KiB ahead");
    }
    let sent = sent + ahead;
    let more = async {
        send(&mut here, 0, sent, LEN).await.expect("goes on");
        here.close().await.expect("closes");
    };
    let read = async {
        there.receive(0, 0, LEN).await.ok();
        there.end().await.ok();
        there.finish().await.ok();
    };
    join(more, read).await;
    expect_end(&mut here).await;
    Outcome::Passed
}

pub async fn slow_reader_here(cell: Cell) -> Outcome {
    let there = cell.theirs.open().await;
    let write = async {
        there.send(0, 0, LEN).await.ok();
        there.finish().await.ok();
    };
    let read = async {
        let mut here = cell.ours.accept().await.expect("accepts");
        arrived(&cell, here.id(), WINDOW).await;
        // A ping that was answered is a moment in which the peer has heard all we had to say.
        cell.ours.ping().await.expect("answered");
        assert_eq!(cell.wire.sent_by_them(here.id()), WINDOW, "their writer waits for what we have not read");
        assert_eq!(cell.budget.reserved(), WINDOW, "a window is all that an unread stream takes");
        receive(&mut here, 0, 0, LEN).await;
        expect_end(&mut here).await;
    };
    join(write, read).await;
    Outcome::Passed
}

/// Waits until so many bytes of a stream of theirs have crossed.
async fn arrived(cell: &Cell, stream: u32, bytes: usize) {
    while cell.wire.sent_by_them(stream) < bytes {
        cell.ours.ping().await.expect("answered");
    }
}

/// Bytes after which a window that grows has grown.
const GROWN: usize = 4 << 20;

pub async fn window_grows_there(cell: Cell) -> Outcome {
    // The first round trip has been measured.
    cell.ours.ping().await.expect("answered");
    let there = async {
        let there = cell.theirs.accept().await;
        there.receive(0, 0, GROWN).await.ok();
        there
    };
    let here = async {
        let mut here = cell.ours.open().await.expect("opens");
        send(&mut here, 0, 0, GROWN).await.expect("the stream takes it");
        here
    };
    let (mut here, there) = join(here, there).await;
    // All that was sent has been read, and the credit for it has arrived. Nobody reads any more.
    cell.ours.ping().await.expect("answered");
    let sent = send_until_pending(&mut here, 0, GROWN, usize::MAX).await;
    assert!(sent - GROWN > WINDOW, "{} bytes of credit", sent - GROWN);
    let (rest, received) = join(here.close(), there.receive(0, GROWN, sent)).await;
    rest.expect("closes");
    received.ok();
    there.end().await.ok();
    Outcome::Passed
}

pub async fn window_grows_here(cell: Cell) -> Outcome {
    cell.ours.ping().await.expect("answered");
    let there = cell.theirs.open().await;
    let write = async {
        there.send(0, 0, 2 * GROWN).await.ok();
        there.finish().await.ok();
    };
    let read = async {
        let mut here = cell.ours.accept().await.expect("accepts");
        receive(&mut here, 0, 0, GROWN).await;
        // Nobody reads, and still more than an initial window is sent.
        arrived(&cell, here.id(), GROWN + WINDOW + 1).await;
        assert!(cell.budget.reserved() > WINDOW, "a window of {} bytes", cell.budget.reserved());
        receive(&mut here, 0, GROWN, 2 * GROWN).await;
        expect_end(&mut here).await;
    };
    join(write, read).await;
    Outcome::Passed
}
