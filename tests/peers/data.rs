//! Bytes through streams: one, many, large, both ways.

use crate::Cell;
use crate::ends::End;
use crate::pattern::{echo, exchange};
use futures::future::{join, join_all};

pub async fn n19_echo_of_nothing_one_byte_and_a_mebibyte(cell: Cell) {
    for (turn, (opener, acceptor)) in cell.openers().into_iter().enumerate() {
        for len in [0, 1, 1 << 20] {
            if turn == 0 || len > 0 || cell.peer.empty_streams {
                request(opener, acceptor, len, len).await;
            }
        }
    }
}

/// A stream with `len` bytes there and back.
async fn request(opener: &dyn End, acceptor: &dyn End, seed: usize, len: usize) {
    let ask = async { exchange(opener.open().await, (seed, len), (seed, len)).await };
    join(ask, async { echo(acceptor.accept().await, len).await }).await;
}

pub async fn n19_eight_mebibytes_each_way_at_once(cell: Cell) {
    const LEN: usize = 8 << 20;
    let here = async { exchange(cell.ours.open().await, (1, LEN), (2, LEN)).await };
    join(here, async { exchange(cell.theirs.accept().await, (2, LEN), (1, LEN)).await }).await;
}

pub async fn n19_two_hundred_streams_at_once(cell: Cell) {
    for (opener, acceptor) in cell.openers() {
        many(opener, acceptor, 200).await;
    }
    assert_eq!(cell.ours.node.num_streams().await, 0);
}

pub async fn n19_streams_opened_by_both_sides_at_once(cell: Cell) {
    let [(ours, theirs), _] = cell.openers();
    join(many(ours, theirs, 50), many(theirs, ours, 50)).await;
    assert_eq!(cell.ours.node.num_streams().await, 0);
}

/// As many streams at once, each with a request of its own; all are open before the first is used.
async fn many(opener: &dyn End, acceptor: &dyn End, streams: usize) {
    const LEN: usize = 3000;
    let ask = async {
        let opened = join_all((0..streams).map(|_| opener.open())).await;
        join_all(opened.into_iter().enumerate().map(|(seed, stream)| exchange(stream, (seed, LEN), (seed, LEN)))).await;
    };
    let answer = async {
        join_all((0..streams).map(|_| async { echo(acceptor.accept().await, LEN).await })).await;
    };
    join(ask, answer).await;
}
