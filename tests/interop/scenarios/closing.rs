//! The connection: pings, go-aways, closes, a peer that is gone.

use super::{WINDOW, pair};
use crate::cell::{Cell, Outcome};
use crate::line::{Answer, By, Request};
use crate::peers::{Lack, Left, OnGoAway, Start};
use crate::support::outcome::stream_error;
use crate::support::pattern::{exchange, expect_end, receive, send, send_until_pending};
use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::{Flags, Header, StreamId};
use sluicegate::{ConnectionError, OpenError, Side, Stream, StreamError};
use std::io;
use std::time::Duration;

/// A code of libp2p's: far from 0 and from the largest.
const CODE: u32 = 0x1002;
/// Less than makes credit due.
const QUEUED: usize = 100 << 10;
/// More than a window.
const LEN: usize = WINDOW + (100 << 10);

pub async fn our_ping(cell: Cell) -> Outcome {
    for _ in 0..3 {
        cell.ours.ping().await.expect("answered");
    }
    Outcome::Passed
}

pub async fn their_ping(cell: Cell) -> Outcome {
    match cell.theirs.ask(Request::Ping).await {
        Answer::Ok(_) => {
            if cell.peer.lacks(Lack::PingCall) {
                cell.note("its API tells of a ping of its own accord");
            }
            Outcome::Passed
        }
        other => other.into(),
    }
}

pub async fn our_go_away(cell: Cell) -> Outcome {
    let (mut here, there) = pair(&cell, true).await;
    cell.ours.call(|connection| connection.go_away()).await;
    match cell.peer.go_away {
        OnGoAway::Drains => {
            // It has heard of it when it answers what was said later.
            cell.ours.ping().await.expect("answered");
            assert!(cell.theirs.try_open().await.is_err(), "it opens streams after our go-away");
            join(exchange(here, (1, LEN), (2, LEN)), there_exchange(&there)).await;
            cell.ours.close().await.expect("closed in good order");
        }
        OnGoAway::Ends => {
            cell.note("our go-away with code 0 is the end of its session and of its open streams");
            stream_error(&here.read(&mut [0]).await.expect_err("the stream was cut"));
            assert!(cell.theirs.try_open().await.is_err(), "it opens streams after our go-away");
            // The end of the transport cuts a stream, or the peer has said go-away before it.
            if let Err(reason) = cell.ours.ended().await {
                assert!(matches!(reason, ConnectionError::UnexpectedEof), "{reason:?}");
            }
        }
        OnGoAway::EndsAlone => {
            cell.note("our go-away with code 0 is the end of its session; the transport stays, until we close it");
            cell.theirs.ask(Request::Closed).await.ok();
            assert!(cell.theirs.try_open().await.is_err(), "it opens streams after our go-away");
            cell.ours.close().await.expect("closed in good order");
            stream_error(&here.read(&mut [0]).await.expect_err("the stream was cut"));
        }
    }
    Outcome::Passed
}

async fn there_exchange(there: &crate::theirs::There<'_>) {
    there.exchange((2, LEN), (1, LEN)).await;
}

pub async fn their_go_away(cell: Cell) -> Outcome {
    let (here, there) = pair(&cell, false).await;
    match cell.theirs.ask(Request::GoAway).await {
        Answer::Ok(_) => {}
        other => return other.into(),
    }
    while !cell.wire.said_by_them(Header::GoAway { code: 0 }) {
        cell.ours.ping().await.expect("answered");
    }
    let refused = cell.ours.open().await.expect_err("they take no more streams");
    assert!(matches!(refused, OpenError::RemoteGoAway), "{refused:?}");
    // The open stream lives on, and the connection ends in good order with it.
    join(exchange(here, (1, LEN), (2, LEN)), there_exchange(&there)).await;
    cell.ours.ended().await.expect("closed in good order");
    Outcome::Passed
}

pub async fn our_close_with_a_code(cell: Cell) -> Outcome {
    let (mut here, there) = pair(&cell, true).await;
    cell.ours.call(|connection| connection.close_with(CODE)).await;
    let (closed, read) = join(cell.theirs.ask(Request::Closed), there.receive(0, 1, 2)).await;
    if cell.peer.lacks(Lack::Codes) {
        cell.note("its API does not tell the code of a go-away");
        assert!(!read.is_ok(), "{read:?}");
    } else {
        assert_eq!(closed, Answer::GoAway { by: By::Remote, code: Some(CODE) });
        assert_eq!(read, Answer::GoAway { by: By::Remote, code: Some(CODE) });
    }
    assert!(cell.wire.said_by_us(Header::GoAway { code: CODE }));
    let reason = cell.ours.ended().await.expect_err("ended with a code");
    assert!(matches!(reason, ConnectionError::GoAway { by: Side::Local, code: CODE }), "{reason:?}");
    ended_by(&mut here, Side::Local, CODE).await;
    Outcome::Passed
}

pub async fn their_close_with_a_code(cell: Cell) -> Outcome {
    let asked = cell.peer.close_code;
    if asked != CODE {
        cell.note("its API knows the codes 0 to 2: 2");
    }
    let (mut here, _there) = pair(&cell, true).await;
    match cell.theirs.ask(Request::Close(asked)).await {
        Answer::Ok(_) => {}
        other => return other.into(),
    }
    if cell.peer.lacks(Lack::UnfinishedClose) {
        cell.note("it finishes its streams before it closes");
        expect_end(&mut here).await;
        cell.ours.ended().await.expect_err("ended with a code");
        has_ended(&here.write(b"x").await.expect_err("over"), Side::Remote, asked);
    } else {
        ended_by(&mut here, Side::Remote, asked).await;
    }
    let reason = cell.ours.ended().await.expect_err("ended with a code");
    assert!(matches!(reason, ConnectionError::GoAway { by: Side::Remote, code } if code == asked), "{reason:?}");
    Outcome::Passed
}

/// Both halves say who ended the connection, and with which code.
async fn ended_by(stream: &mut Stream, side: Side, with: u32) {
    has_ended(&stream.read(&mut [0]).await.expect_err("over"), side, with);
    has_ended(&stream.write(b"x").await.expect_err("over"), side, with);
}

fn has_ended(error: &io::Error, side: Side, with: u32) {
    match stream_error(error) {
        StreamError::Connection(ConnectionError::GoAway { by, code }) => assert_eq!((by, code), (side, with)),
        other => panic!("{other:?}"),
    }
}

pub async fn our_close_with_data_queued(cell: Cell) -> Outcome {
    let (mut here, there) = pair(&cell, true).await;
    cell.ours.ping().await.expect("answered");
    let (id, left) = (here.id(), cell.peer.left_at_close);
    let most = if left == Left::BelowCredit {
        cell.note("100 KiB, less than makes credit due");
        QUEUED
    } else {
        WINDOW
    };
    if left == Left::Nothing {
        cell.note("our go-away ends its session, read or not: what has left is looked at");
    }
    // A byte has gone before. Nothing waits, so nothing leaves, until the connection is closed.
    let sent = send_until_pending(&mut here, 0, 1, most).await;
    assert_eq!((cell.wire.sent_by_us(id), sent), (1, most));
    drop(here);
    let Cell { ours, wire, .. } = &cell;
    let close = async { ours.call(|connection| connection.close_with(0)).await };
    let read = async {
        if left != Left::Nothing {
            there.receive(0, 1, sent).await.ok();
            there.end().await.ok();
        }
    };
    join(close, read).await;
    ours.ended().await.expect("closed in good order");
    assert_eq!(wire.sent_by_us(id), sent, "bytes that were written have not left");
    let fin = Header::Data { id: StreamId::new(id).expect("not zero"), flags: Flags::FIN, len: 0 };
    assert_eq!(wire.last_by_us(2), [fin, Header::GoAway { code: 0 }]);
    Outcome::Passed
}

pub async fn their_close_with_data_queued(cell: Cell) -> Outcome {
    // A socket that is closed over unread bytes drops what it has queued, so nothing of ours may be under way when the
    // peer closes.
    let (mut here, there) = pair(&cell, false).await;
    cell.ours.ping().await.expect("answered");
    let (arrived, arrival) = futures::channel::oneshot::channel();
    let close = async {
        there.send(1, 0, QUEUED).await.ok();
        there.finish().await.ok();
        if cell.peer.lacks(Lack::QueueAtClose) {
            cell.note("it is closed when what it has sent has arrived");
            arrival.await.expect("arrives");
        }
        cell.theirs.ask(Request::Close(0)).await.ok();
    };
    let read = async {
        receive(&mut here, 1, 0, QUEUED).await;
        expect_end(&mut here).await;
        // It was the last: a peer that waits for its end need wait no longer. The others close when our FIN has arrived,
        // since a closed socket answers it with a reset.
        drop(here);
        cell.ours.ping().await.ok();
        let _ = arrived.send(());
    };
    join(close, read).await;
    cell.ours.ended().await.expect("closed in good order");
    Outcome::Passed
}

/// Milliseconds after which a peer that gives up on a stream gives up.
pub const OPEN_TIMEOUT: u32 = 500;

pub async fn unanswered_stream(cell: Cell) -> Outcome {
    let (unanswered, accepted) = (cell.theirs.open().await, cell.ours.accept());
    let (sent, silent) = join(unanswered.send(0, 0, 1), accepted).await;
    sent.ok();
    let mut silent = silent.expect("accepts");
    if cell.peer.lacks(Lack::OpenTimeout) {
        cell.note("it waits for ever: no timeout is waited for");
        cell.ours.ping().await.expect("answered");
    } else {
        // The peer's clock is a real one.
        tokio::time::sleep(Duration::from_millis(u64::from(3 * OPEN_TIMEOUT))).await;
    }
    let (here, there) = pair(&cell, false).await;
    join(exchange(here, (1, LEN), (2, LEN)), there_exchange(&there)).await;
    // The stream lives as well.
    receive(&mut silent, 0, 0, 1).await;
    send(&mut silent, 0, 0, 1).await.expect("open");
    unanswered.receive(0, 0, 1).await.ok();
    Outcome::Passed
}

pub async fn peer_killed(cell: Cell) -> Outcome {
    const READ: usize = 100 << 10;
    let (mut cut, there_cut) = pair(&cell, true).await;
    let (mut done, there_done) = pair(&cell, false).await;
    for (here, there) in [(&mut cut, &there_cut), (&mut done, &there_done)] {
        join(async { there.send(1, 0, READ).await.ok() }, receive(here, 1, 0, READ)).await;
    }
    there_done.finish().await.ok();
    expect_end(&mut done).await;
    if let Start::InProcess(_) = cell.peer.start {
        cell.note("it runs in the process of the test: its task is dropped, with the transport");
    }
    // The peer has read all that we have to say.
    cell.ours.ping().await.expect("answered");
    cell.theirs.kill();
    for _ in 0..2 {
        let errors =
            [cut.read(&mut [0]).await.expect_err("it was cut"), cut.write(b"x").await.expect_err("it was cut")];
        for error in errors {
            // A system that ends a process may end its connections in either way.
            let kinds = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            assert!(matches!(stream_error(&error), StreamError::Connection(_)), "{error:?}");
        }
        expect_end(&mut done).await;
    }
    Outcome::Passed
}
