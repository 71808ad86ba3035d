//! Ends: half closes, resets, a close with data queued, a peer that is gone.

use crate::Cell;
use crate::ends::{BoxStream, End};
use crate::pattern::{expect_end, receive, send, send_until_pending};
use crate::support::Transport;
use futures::channel::oneshot;
use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::{Side, Stream, StreamError};
use std::io;

pub async fn n19_half_close_and_data_the_other_way(cell: Cell) {
    for we_open in [true, false] {
        let (mut here, mut there) = pair(&cell, we_open).await;
        half_close(&mut here, &mut there, 200 << 10).await;
        let (mut here, mut there) = pair(&cell, we_open).await;
        half_close(&mut there, &mut here, 1 << 20).await;
    }
    assert_eq!(cell.ours.node.num_streams().await, 0);
}

/// `first` ends its half; then `len` bytes go the other way, and that half ends too.
async fn half_close(first: &mut dyn Transport, second: &mut dyn Transport, len: usize) {
    first.close().await.expect("closes");
    expect_end(second).await;
    let write = async {
        send(second, 1, 0, len).await.expect("the other half is open");
        second.close().await.expect("closes");
    };
    let read = async {
        receive(first, 1, 0, len).await;
        expect_end(first).await;
    };
    join(write, read).await;
}

pub async fn n19_our_reset_is_seen(cell: Cell) {
    for we_open in [true, false] {
        let (mut here, mut there) = pair(&cell, we_open).await;
        here.reset(0x1001);
        assert_eq!(reset(here.read(&mut [0]).await), (Side::Local, 0x1001));
        let read = there.read(&mut [0]).await;
        match cell.peer.reset_read {
            Some(kind) => assert_eq!(read.expect_err("reset").kind(), kind),
            // A read error is not offered by its API: the reader ends, and the writer fails.
            None => assert_eq!(read.expect("ends"), 0),
        }
        assert_eq!(there.write(b"x").await.expect_err("reset").kind(), cell.peer.reset_write);
    }
    assert_eq!(cell.ours.node.num_streams().await, 0);
}

pub async fn n19_their_reset_is_seen(cell: Cell) {
    for we_open in [true, false] {
        let (mut here, mut there) = pair(&cell, we_open).await;
        send(&mut there, 1, 0, 1000).await.expect("open");
        // What was sent goes ahead of the reset. A code is not offered by its API.
        drop(there);
        receive(&mut here, 1, 0, 1000).await;
        assert_eq!(reset(here.read(&mut [0]).await), (Side::Remote, 0));
        assert_eq!(reset(here.write(b"x").await), (Side::Remote, 0));
    }
    assert_eq!(cell.ours.node.num_streams().await, 0);
}

pub async fn n19_our_close_with_data_queued(cell: Cell) {
    let mut here = cell.ours.open_stream().await;
    let sent = send_until_pending(&mut here, 0, 0).await;
    assert_ne!(sent, 0);
    let close = async {
        drop(here);
        cell.ours.close().await;
    };
    let read = async {
        let mut there = cell.theirs.accept().await;
        receive(&mut there, 0, 0, sent).await;
        expect_end(&mut there).await;
    };
    join(close, read).await;
}

pub async fn n19_their_close_with_data_queued(cell: Cell) {
    // Less than makes credit due. A socket that is closed over unread bytes drops what it has queued, so nothing of ours
    // may be under way when the peer closes.
    const LEN: usize = 100 << 10;
    let (mut here, mut there) = pair(&cell, false).await;
    cell.ours.node.ping().await.expect("answered");
    let (arrived, arrival) = oneshot::channel();
    let close = async {
        send(&mut there, 1, 0, LEN).await.expect("open");
        there.close().await.expect("closes");
        if !cell.peer.close_keeps_queue {
            // Waiting for queued data when a session closes is not offered by its API.
            arrival.await.expect("arrives");
        }
        cell.theirs.close().await;
    };
    let read = async {
        receive(&mut here, 1, 0, LEN).await;
        expect_end(&mut here).await;
        let _ = arrived.send(());
        // It was the last: with it the connection ends here too, and a peer that waits for that need wait no longer.
        drop(here);
    };
    join(close, read).await;
    cell.ours.node.ended().await.expect("closed in good order");
}

pub async fn n19_lost_peer_is_no_end_of_file(cell: Cell) {
    const LEN: usize = 100 << 10;
    let (mut cut, mut there_cut) = pair(&cell, true).await;
    let (mut done, mut there_done) = pair(&cell, false).await;
    for (here, there) in [(&mut cut, &mut there_cut), (&mut done, &mut there_done)] {
        let (sent, ()) = join(send(there, 1, 0, LEN), receive(here, 1, 0, LEN)).await;
        sent.expect("open");
    }
    there_done.close().await.expect("closes");
    expect_end(&mut done).await;
    // The peer has read all that we have to say: its transport ends with an end of file, not with a failure.
    cell.ours.node.ping().await.expect("answered");
    cell.theirs.abort().await;
    for _ in 0..2 {
        assert_eq!(cut.read(&mut [0]).await.expect_err("it was cut").kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(cut.write(b"x").await.expect_err("it was cut").kind(), io::ErrorKind::UnexpectedEof);
        expect_end(&mut done).await;
    }
}

/// Who reset the stream, and with which code.
fn reset(result: io::Result<usize>) -> (Side, u32) {
    let error = result.expect_err("reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(StreamError::Reset { by, code }) => (*by, *code),
        other => panic!("{other:?}"),
    }
}

/// The two ends of a stream that has carried a byte each way.
async fn pair(cell: &Cell, we_open: bool) -> (Stream, BoxStream) {
    if we_open {
        let mut here = cell.ours.open_stream().await;
        send(&mut here, 0, 0, 1).await.expect("open");
        let mut there = cell.theirs.accept().await;
        greet(&mut there, &mut here).await;
        (here, there)
    } else {
        let mut there = cell.theirs.open().await;
        send(&mut there, 0, 0, 1).await.expect("open");
        let mut here = cell.ours.accept_stream().await;
        greet(&mut here, &mut there).await;
        (here, there)
    }
}

async fn greet(acceptor: &mut dyn Transport, opener: &mut dyn Transport) {
    receive(acceptor, 0, 0, 1).await;
    send(acceptor, 0, 0, 1).await.expect("open");
    receive(opener, 0, 0, 1).await;
}
