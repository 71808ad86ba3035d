//! Ends of streams: half closes and resets.

use super::pair;
use crate::cell::{Cell, Outcome};
use crate::line::{Answer, By};
use crate::peers::Lack;
use crate::support::outcome::reset;
use crate::support::pattern::{expect_end, receive, send};
use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::Side;
use sluicegate::wire::{Flags, Header, StreamId};

/// A code of libp2p's: far from 0 and from the largest.
const CODE: u32 = 0x1001;
/// Bytes that go the other way after a half close: more than a window.
const LEN: usize = 1 << 20;

pub async fn our_half_close(cell: Cell) -> Outcome {
    let len = if cell.peer.lacks(Lack::WritingPastFin) {
        cell.note("200 KiB, less than a window, go the other way");
        200 << 10
    } else {
        LEN
    };
    for we_open in [true, false] {
        let (mut here, there) = pair(&cell, we_open).await;
        here.close().await.expect("closes");
        there.end().await.ok();
        let write = async {
            there.send(1, 0, len).await.ok();
            there.finish().await.ok();
        };
        let read = async {
            receive(&mut here, 1, 0, len).await;
            expect_end(&mut here).await;
        };
        join(write, read).await;
    }
    assert_eq!(cell.ours.num_streams().await, 0);
    Outcome::Passed
}

pub async fn their_half_close(cell: Cell) -> Outcome {
    for we_open in [true, false] {
        let (mut here, there) = pair(&cell, we_open).await;
        there.finish().await.ok();
        expect_end(&mut here).await;
        let write = async {
            send(&mut here, 1, 0, LEN).await.expect("the other half is open");
            here.close().await.expect("closes");
        };
        let read = async {
            there.receive(1, 0, LEN).await.ok();
            there.end().await.ok();
        };
        join(write, read).await;
    }
    assert_eq!(cell.ours.num_streams().await, 0);
    Outcome::Passed
}

pub async fn our_reset(cell: Cell) -> Outcome {
    for we_open in [true, false] {
        let (mut here, there) = pair(&cell, we_open).await;
        here.reset(CODE);
        assert_eq!(reset(&here.read(&mut [0]).await.expect_err("reset")), (Side::Local, CODE));
        let read = there.receive(0, 1, 2).await;
        let id = StreamId::new(here.id()).expect("not zero");
        assert!(cell.wire.said_by_us(Header::WindowUpdate { id, flags: Flags::RST, value: CODE }));
        if cell.peer.lacks(Lack::ResetForReader) {
            cell.note("our reset shows as an end of file to its reader");
            assert_eq!(read, Answer::End { at: 1 });
        } else if cell.peer.lacks(Lack::Codes) {
            cell.note("its API tells of a reset without the code");
            assert!(matches!(read, Answer::Reset { code: None, .. }), "{read:?}");
        } else {
            assert_eq!(read, Answer::Reset { by: By::Remote, code: Some(CODE) });
        }
        let written = there.send(0, 1, 2).await;
        assert!(!written.is_ok(), "a stream that was reset takes bytes");
    }
    assert_eq!(cell.ours.num_streams().await, 0);
    Outcome::Passed
}

pub async fn their_reset(cell: Cell) -> Outcome {
    let code = if cell.peer.lacks(Lack::Codes) {
        cell.note("its API resets without a code: 0");
        0
    } else {
        CODE
    };
    for we_open in [true, false] {
        let (mut here, there) = pair(&cell, we_open).await;
        // What was sent goes ahead of the reset.
        there.send(1, 0, 1000).await.ok();
        match there.reset(code).await {
            Answer::Ok(_) => {}
            other => return other.into(),
        }
        receive(&mut here, 1, 0, 1000).await;
        assert_eq!(reset(&here.read(&mut [0]).await.expect_err("reset")), (Side::Remote, code));
        assert_eq!(reset(&here.write(b"x").await.expect_err("reset")), (Side::Remote, code));
    }
    assert_eq!(cell.ours.num_streams().await, 0);
    Outcome::Passed
}
