//! Bytes through streams: none, one, many, large, both ways.

use crate::cell::{Cell, Outcome};
use crate::line::{Answer, Request};
use crate::peers::Lack;
use crate::support::pattern::{exchange, expect_end, receive, send};
use crate::theirs::There;
use crate::verdict::Role;
use futures::future::{join, join_all};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::{Priority, Stream};

pub async fn echo_nothing(cell: Cell) -> Outcome {
    we_ask(&cell, 0).await;
    if cell.peer.lacks(Lack::EmptyStreams) {
        cell.note("ours only: it announces a stream with its first byte");
    } else {
        they_ask(&cell, 0).await;
    }
    Outcome::Passed
}

pub async fn echo_a_byte(cell: Cell) -> Outcome {
    we_ask(&cell, 1).await;
    they_ask(&cell, 1).await;
    Outcome::Passed
}

pub async fn echo_a_mebibyte(cell: Cell) -> Outcome {
    we_ask(&cell, 1 << 20).await;
    they_ask(&cell, 1 << 20).await;
    Outcome::Passed
}

pub(super) async fn we_ask(cell: &Cell, len: usize) {
    let ask = async { exchange(cell.ours.open().await.expect("opens"), (len, len), (len, len)).await };
    let answer = async { cell.theirs.accept().await.echo().await.values() };
    assert_eq!(join(ask, answer).await.1, [len.to_string()]);
}

pub(super) async fn they_ask(cell: &Cell, len: usize) {
    let ask = async { cell.theirs.open().await.exchange((len, len), (len, len)).await };
    join(ask, async { echo(cell.ours.accept().await.expect("accepts")).await }).await;
}

/// Sends back what comes until the end, then closes.
pub(super) async fn echo(stream: Stream) {
    let (reader, mut writer) = stream.split();
    futures::io::copy(reader, &mut writer).await.expect("every byte goes back");
    writer.close().await.expect("closes");
}

pub async fn both_ways_at_once(cell: Cell) -> Outcome {
    const LEN: usize = 64 << 20;
    match cell.role {
        Role::Dial => {
            let here = async { exchange(cell.ours.open().await.expect("opens"), (1, LEN), (2, LEN)).await };
            join(here, async { cell.theirs.accept().await.exchange((2, LEN), (1, LEN)).await }).await;
        }
        Role::Listen => {
            let there = async { cell.theirs.open().await.exchange((2, LEN), (1, LEN)).await };
            join(there, async { exchange(cell.ours.accept().await.expect("accepts"), (1, LEN), (2, LEN)).await }).await;
        }
    }
    Outcome::Passed
}

/// On a short link our bulk leaves in pieces, as their pongs come; what is urgent goes between.
pub async fn urgent_beside_bulk(cell: Cell) -> Outcome {
    const BULK: usize = 16 << 20;
    const MESSAGE: usize = 64;
    const MESSAGES: usize = 200;
    let bulk = async {
        let stream = cell.ours.open().await.expect("opens");
        stream.set_priority(Priority::LOW);
        exchange(stream, (1, BULK), (1, BULK)).await;
    };
    let urgent = async {
        let mut stream = cell.ours.open().await.expect("opens");
        stream.set_priority(Priority::HIGH);
        for at in (0..MESSAGES).map(|message| message * MESSAGE) {
            send(&mut stream, 2, at, at + MESSAGE).await.expect("open");
            receive(&mut stream, 2, at, at + MESSAGE).await;
        }
        finish(stream).await;
    };
    let echo = || async { cell.theirs.accept().await.echo().await.values() };
    let (_, (one, other)) = join(join(bulk, urgent), join(echo(), echo())).await;
    let mut echoed = [one, other].map(|values| values.join(" "));
    echoed.sort();
    assert_eq!(echoed, [(MESSAGES * MESSAGE).to_string(), BULK.to_string()]);
    Outcome::Passed
}

pub async fn many_streams(cell: Cell) -> Outcome {
    if cell.peer.streams < 1000 {
        cell.note("500 streams: it allows 512 at once by default");
    }
    we_open(&cell, cell.peer.streams).await;
    if cell.peer.opens < cell.peer.streams {
        cell.note("256 of its own: it opens no more before it has closed some");
    }
    they_open(&cell, cell.peer.opens).await;
    Outcome::Passed
}

pub async fn crossing_opens(cell: Cell) -> Outcome {
    join(we_open(&cell, 100), they_open(&cell, 100)).await;
    assert_eq!(cell.ours.num_streams().await, 0);
    match cell.theirs.ask(Request::Streams).await {
        Answer::Unsupported(_) => cell.note("its API does not count streams: ours are counted"),
        counted => assert_eq!(counted.values(), ["0"]),
    }
    Outcome::Passed
}

/// Bytes of a request, and of its response.
const LEN: usize = 1000;

/// As many streams at once, each with a request and a response; all are open before the first ends.
async fn we_open(cell: &Cell, streams: usize) {
    let ask = async {
        let opened = join_all((0..streams).map(|seed| we_request(cell, seed))).await;
        assert!(cell.ours.num_streams().await >= streams);
        join_all(opened.into_iter().map(finish)).await;
    };
    let answers = (0..streams).map(|_| async { cell.theirs.accept().await.echo().await.values() });
    let ((), echoed) = join(ask, join_all(answers)).await;
    assert!(echoed.iter().all(|bytes| *bytes == [LEN.to_string()]));
}

async fn we_request(cell: &Cell, seed: usize) -> Stream {
    let mut stream = cell.ours.open().await.expect("opens");
    send(&mut stream, seed, 0, LEN).await.expect("open");
    receive(&mut stream, seed, 0, LEN).await;
    stream
}

pub(super) async fn finish(mut stream: Stream) {
    stream.close().await.expect("closes");
    expect_end(&mut stream).await;
}

async fn they_open(cell: &Cell, streams: usize) {
    let ask = async {
        let opened = join_all((0..streams).map(|seed| they_request(cell, seed))).await;
        assert!(cell.ours.num_streams().await >= streams);
        join_all(opened.iter().map(they_finish)).await;
    };
    let answers = (0..streams).map(|_| async { echo(cell.ours.accept().await.expect("accepts")).await });
    join(ask, join_all(answers)).await;
}

async fn they_request(cell: &Cell, seed: usize) -> There<'_> {
    let stream = cell.theirs.open().await;
    stream.send(seed, 0, LEN).await.ok();
    stream.receive(seed, 0, LEN).await.ok();
    stream
}

pub(super) async fn they_finish(stream: &There<'_>) {
    stream.finish().await.ok();
    stream.end().await.ok();
}
