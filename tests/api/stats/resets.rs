//! Resets by who sent them and why.

use crate::support::line::Line;
use crate::support::node::Node;
use crate::support::peer::{Peer, data, fin, update};
use crate::support::{pipe, quiet, run};
use futures::AsyncWriteExt;
use sluicegate::Priority;
use sluicegate::stats::Resets;
use sluicegate::wire::Flags;

fn list(resets: Resets) -> [u64; 5] {
    [resets.application, resets.dropped, resets.after_fin, resets.remote, resets.remote_unaccepted]
}

/// Ours has not left when theirs arrives: it never does, and the stream was reset once.
#[test]
fn resets_that_cross_are_one() {
    let mut line = Line::new(quiet());
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    stream.reset(7);
    line.feed(update(stream.id(), Flags::RST, 8), &[]);
    line.drain();
    assert_eq!(list(line.connection.stats().resets), [1, 0, 0, 0, 0]);
}

#[test]
fn each_reset_is_counted_once_under_its_cause() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let (client, mut peer) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
        peer.greet().await;
        let figures = async || list(client.call(|connection| connection.stats().resets).await);

        // One that the peer has never heard of is none.
        client.open().await.expect("opens").reset(7);
        assert_eq!(figures().await, [0; 5]);

        let mut stream = client.open().await.expect("opens");
        stream.flush().await.expect("flushes");
        let id = stream.id();
        peer.expect(update(id, Flags::SYN, 0)).await;
        stream.reset(7);
        stream.reset(8);
        peer.expect(update(id, Flags::RST, 7)).await;
        peer.expect_silence().await;
        assert_eq!(figures().await, [1, 0, 0, 0, 0]);
        drop(stream);

        // Dropped and not used.
        peer.send(update(2, Flags::SYN, 0)).await;
        let stream = client.accept().await.expect("accepts");
        peer.expect(update(2, Flags::ACK, 0)).await;
        drop(stream);
        peer.expect(update(2, Flags::RST, 0)).await;
        peer.send_data(2, Flags::NONE, b"unwanted").await;
        peer.expect_silence().await;
        assert_eq!(figures().await, [1, 1, 0, 0, 0]);

        // Data after a FIN.
        peer.send(update(4, Flags::SYN, 0)).await;
        let stream = client.accept().await.expect("accepts");
        peer.expect(update(4, Flags::ACK, 0)).await;
        peer.send(fin(4)).await;
        peer.send_data(4, Flags::NONE, b"late").await;
        peer.expect(update(4, Flags::RST, 1)).await;
        assert_eq!(figures().await, [1, 1, 1, 0, 0]);
        drop(stream);

        // The peer resets one that was accepted, one that was not, and one that it opens at once.
        peer.send(update(6, Flags::SYN, 0)).await;
        let stream = client.accept().await.expect("accepts");
        peer.expect(update(6, Flags::ACK, 0)).await;
        peer.send(data(6, Flags::RST, 0)).await;
        peer.send(data(6, Flags::RST, 0)).await;
        peer.expect_silence().await;
        assert_eq!(figures().await, [1, 1, 1, 1, 0]);
        drop(stream);
        peer.send(update(8, Flags::SYN, 0)).await;
        peer.send(update(8, Flags::RST, 9)).await;
        peer.send(update(10, Flags::SYN | Flags::RST, 0)).await;
        peer.expect_silence().await;
        assert_eq!(figures().await, [1, 1, 1, 1, 2]);
    });
}
