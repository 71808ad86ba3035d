//! A stream and a session that are dropped against the driver.

use futures::AsyncWriteExt;
use shuttle::future::spawn;
use sluicegate::Mode;
use sluicegate::wire::Flags;
use sluicegate_schedules::{Node, Peer, explore, settings};

/// Nothing is left of any stream at either end.
async fn expect_clean(node: Node, mut peer: Peer) {
    peer.settle().await;
    assert_eq!((node.memory.reserved(), node.session.num_streams()), (0, 0));
    node.end().await;
}

#[test]
fn what_was_written_before_a_drop_arrives_and_then_the_fin() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let mut stream = node.session.open().await.expect("opens");
        let writer = spawn(async move { stream.write_all(b"bye").await.expect("it is taken") });
        peer.hear(|peer| peer.of(1).flags.contains(Flags::FIN)).await;
        writer.await.expect("no panic");
        assert_eq!(peer.of(1).bytes, b"bye");
        peer.send_update(1, Flags::ACK | Flags::FIN, 0).await;
        expect_clean(node, peer).await;
    });
}

#[test]
fn what_arrives_while_a_stream_is_dropped_holds_no_memory() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Server, 1024, settings());
        peer.send_update(1, Flags::SYN, 0).await;
        let stream = node.session.accept().await.expect("it has been opened");
        let dropper = spawn(async move { drop(stream) });
        peer.send_data(1, Flags::NONE, b"too late?").await;
        peer.send_data(1, Flags::FIN, b"").await;
        dropper.await.expect("no panic");
        peer.hear(|peer| {
            let flags = peer.of(1).flags;
            flags.contains(Flags::FIN) || flags.contains(Flags::RST)
        })
        .await;
        expect_clean(node, peer).await;
    });
}

/// The last handle of a session goes, and its last stream.
#[test]
fn a_connection_that_nobody_holds_any_more_closes_in_good_order() {
    explore(|| async {
        let (Node { session, memory, driver }, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let mut stream = session.open().await.expect("opens");
        let writer = spawn(async move { stream.write_all(b"bye").await.expect("it is taken") });
        let dropper = spawn(async move { drop(session) });
        peer.hear(|peer| peer.of(1).flags.contains(Flags::FIN)).await;
        peer.send_update(1, Flags::ACK | Flags::FIN, 0).await;
        peer.hear(|peer| peer.away == [0]).await;
        peer.shut().await;
        driver.await.expect("no panic").expect("in good order");
        writer.await.expect("no panic");
        dropper.await.expect("no panic");
        assert_eq!((peer.of(1).bytes.as_slice(), memory.reserved()), (&b"bye"[..], 0));
    });
}
