//! An echo whose every future may be given up, at any moment, and is asked for again.

use super::{Kind, Plan};
use crate::chance::Chance;
use crate::end::End;
use crate::oracle::pattern;
use futures::{AsyncReadExt, AsyncWriteExt};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// What `future` gives, unless it is given up: at once, after some polls, or after some time.
async fn maybe<F: Future>(future: F, end: &End, chance: &mut Chance) -> Option<F::Output> {
    match chance.below(3) {
        0 => Some(end.world.op("an operation that is not given up", future).await),
        1 => {
            let longest = chance.pick(&[0, 0, 1, 20, 200]);
            end.world.timeout(chance.millis(longest), future).await
        }
        _ => {
            let (mut polls, mut future) = (chance.below(3), pin!(future));
            let given = poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls == 0 => Poll::Ready(None),
                Poll::Pending => {
                    polls -= 1;
                    Poll::Pending
                }
            });
            end.world.op("an operation that is given up after some polls", given).await
        }
    }
}

pub async fn run(end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let bytes = end.amount(chance);
    let session = end.session()?;
    let opened = loop {
        if let Some(opened) = maybe(session.open(), end, chance).await {
            break opened;
        }
    };
    drop(session);
    let mut stream = end.opened(opened, Plan::new(Kind::Cancel, bytes, bytes))?;
    let (id, mut written, mut read, mut closed) = (stream.id(), 0, 0, false);
    let mut buffer = vec![0; 20_000];
    while !closed || read < bytes {
        match chance.below(8) {
            0..3 if written < bytes => {
                let len = (chance.below(30_000) + 1).min(bytes - written);
                let piece: Vec<u8> = (written..written + len).map(|index| pattern(id, index)).collect();
                // The echo stalls if it is not read, so every write has a deadline.
                let longest = chance.millis(20);
                if let Some(wrote) = end.world.timeout(longest, stream.write(&piece)).await {
                    written += wrote? as u64;
                }
            }
            3 => maybe(stream.flush(), end, chance).await.unwrap_or(Ok(()))?,
            4 => drop(maybe(end.ping(), end, chance).await),
            5 => drop(maybe(end.world.sleep(chance.fork().millis(100)), end, chance).await),
            6 if written == bytes => {
                if let Some(result) = maybe(stream.close(), end, chance).await {
                    result?;
                    closed = true;
                }
            }
            _ if read < written => {
                let got = maybe(stream.read(&mut buffer), end, chance).await;
                read += got.unwrap_or(Ok(0))? as u64;
            }
            _ => {}
        }
    }
    assert_eq!(end.world.op("the end of an echo", stream.read(&mut buffer)).await?, 0);
    Ok(())
}
