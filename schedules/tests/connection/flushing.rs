//! A flush against the driver's flush: when it is done, what was written before has left.

use futures::{AsyncWriteExt, FutureExt};
use shuttle::future::spawn;
use sluicegate::wire::Flags;
use sluicegate::{Mode, Stream};
use sluicegate_schedules::{Node, explore, settings};

async fn write_and_flush(mut stream: Stream, bytes: &[u8]) -> Stream {
    stream.write_all(bytes).await.expect("it is taken");
    stream.flush().await.expect("it leaves");
    stream
}

#[test]
fn a_flush_of_one_does_not_take_that_of_another_with_it() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let (one, other) = (node.session.open().await.expect("opens"), node.session.open().await.expect("opens"));
        let [one, other] = [spawn(write_and_flush(one, b"one")), spawn(write_and_flush(other, b"other"))];
        let one = one.await.expect("no panic");
        assert!(peer.hear(|peer| peer.of(1).bytes == b"one").now_or_never().is_some(), "it has not left");
        let other = other.await.expect("no panic");
        assert!(peer.hear(|peer| peer.of(3).bytes == b"other").now_or_never().is_some(), "it has not left");
        drop((one, other));
        node.end().await;
    });
}

/// The transport takes part of what is flushed, and the rest when somebody reads.
#[test]
fn flushes_wait_for_a_slow_transport_and_no_longer() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 20, settings());
        let (one, other) = (node.session.open().await.expect("opens"), node.session.open().await.expect("opens"));
        let writers = [spawn(write_and_flush(one, b"one")), spawn(write_and_flush(other, b"other"))];
        peer.hear(|peer| peer.of(1).bytes == b"one" && peer.of(3).bytes == b"other").await;
        for writer in writers {
            writer.await.expect("no panic");
        }
        node.end().await;
    });
}

#[test]
fn a_close_is_done_when_its_fin_has_left() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let mut stream = node.session.open().await.expect("opens");
        let writer = spawn(async move {
            stream.write_all(b"hello").await.expect("it is taken");
            stream.close().await.expect("it leaves");
            stream
        });
        let stream = writer.await.expect("no panic");
        let finished = peer.hear(|peer| peer.of(1).flags.contains(Flags::FIN)).now_or_never();
        assert!(finished.is_some(), "the FIN has not left");
        assert_eq!(peer.of(1).bytes, b"hello");
        drop(stream);
        node.end().await;
    });
}
