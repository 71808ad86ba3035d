//! An answer before the request has been read: whoever answers closes, lets go, and reads no more.

use super::data::{they_ask, we_ask};
use crate::cell::{Cell, Outcome};
use crate::line::Answer;
use crate::peers::Lack;
use crate::support::pattern::{receive, send};
use futures::future::{Either, join, join_all, select};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::pin::pin;

/// Bytes of a request: four windows.
const UPLOAD: usize = 1 << 20;
/// As much of it is read.
const READ: usize = 1 << 10;
/// Bytes of the answer.
const ANSWER: usize = 100;
/// As many streams, at once.
const TIMES: usize = 10;

pub async fn our_early_answer(cell: Cell) -> Outcome {
    let once = || {
        let upload = async {
            let there = cell.theirs.open().await;
            let read = async {
                there.receive(2, 0, ANSWER).await.ok();
                there.end().await
            };
            let send = there.send(1, 0, UPLOAD);
            let end = if cell.peer.lacks(Lack::WritingPastFin) {
                cell.note("a writer of its hears nothing behind our end: it gives up");
                match select(pin!(send), pin!(read)).await {
                    Either::Left((sent, _)) => panic!("{sent:?} before the answer"),
                    Either::Right((end, _)) => end,
                }
            } else {
                let (sent, end) = join(send, read).await;
                // It is told, in whatever way, that nobody reads what it has to say.
                assert!(!sent.is_ok(), "all of the upload was taken");
                end
            };
            assert!(!matches!(end, Answer::More), "there was more than the answer");
            let _ = there.let_go().await;
        };
        let answer = async {
            let mut here = cell.ours.accept().await.expect("accepts");
            receive(&mut here, 1, 0, READ).await;
            send(&mut here, 2, 0, ANSWER).await.expect("the stream takes it");
            here.close().await.expect("closes");
        };
        join(upload, answer)
    };
    join_all((0..TIMES).map(|_| once())).await;
    alive(&cell).await
}

pub async fn their_early_answer(cell: Cell) -> Outcome {
    let once = || {
        let upload = async {
            let (mut reader, mut writer) = cell.ours.open().await.expect("opens").split();
            let read = async {
                receive(&mut reader, 2, 0, ANSWER).await;
                let end = reader.read(&mut [0]).await;
                assert!(!matches!(end, Ok(1)), "there was more than the answer");
            };
            // None of them tells a writer that has used up its credit that nobody will read: ours gives up with the answer.
            if let Either::Left((sent, read)) = select(pin!(send(&mut writer, 1, 0, UPLOAD)), pin!(read)).await {
                // Some take all of it, and throw it away.
                drop(sent);
                read.await;
            }
        };
        let answer = async {
            let there = cell.theirs.accept().await;
            there.receive(1, 0, READ).await.ok();
            there.send(2, 0, ANSWER).await.ok();
            there.finish().await.ok();
            there.let_go().await.ok();
        };
        join(upload, answer)
    };
    join_all((0..TIMES).map(|_| once())).await;
    alive(&cell).await
}

async fn alive(cell: &Cell) -> Outcome {
    we_ask(cell, UPLOAD).await;
    they_ask(cell, UPLOAD).await;
    Outcome::Passed
}
