//! A write against the driver that parks: what was written leaves, though nobody flushes.

use futures::AsyncWriteExt;
use shuttle::future::spawn;
use sluicegate::{Mode, Stream};
use sluicegate_schedules::{Node, explore, settings};

/// Writes, and holds the stream until that has arrived: nothing but the write tells the driver.
async fn write(mut stream: Stream, bytes: &[u8]) -> Stream {
    stream.write_all(bytes).await.expect("it is taken");
    stream
}

#[test]
fn what_is_written_leaves_without_a_flush() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let stream = node.session.open().await.expect("opens");
        let writer = spawn(write(stream, b"hello"));
        peer.hear(|peer| peer.of(1).bytes == b"hello").await;
        writer.await.expect("no panic");
        node.end().await;
    });
}

/// When a write has arrived, the driver that sent it goes to sleep: nothing but the next write will wake it.
#[test]
fn a_write_is_seen_by_a_driver_that_is_about_to_sleep() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let mut stream = node.session.open().await.expect("opens");
        for written in 1..=4 {
            stream.write_all(b"x").await.expect("it is taken");
            peer.hear(|peer| peer.of(1).bytes.len() == written).await;
        }
        drop(stream);
        node.end().await;
    });
}

/// The driver waits for the transport while more is written.
#[test]
fn two_writers_on_a_slow_transport_both_get_through() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 20, settings());
        let (one, other) = (node.session.open().await.expect("opens"), node.session.open().await.expect("opens"));
        let writers = [spawn(write(one, b"one")), spawn(write(other, b"other"))];
        peer.hear(|peer| peer.of(1).bytes == b"one" && peer.of(3).bytes == b"other").await;
        for writer in writers {
            writer.await.expect("no panic");
        }
        node.end().await;
    });
}

/// The send buffers take 32 KiB of a stream at a time.
#[test]
fn writers_that_wait_for_room_get_it() {
    const LEN: usize = 40 * 1024;
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 64 * 1024, settings());
        let (one, other) = (node.session.open().await.expect("opens"), node.session.open().await.expect("opens"));
        let writers = [spawn(write(one, &[1; LEN])), spawn(write(other, &[3; LEN]))];
        peer.hear(|peer| [1, 3].iter().all(|id| peer.of(*id).bytes.len() == LEN)).await;
        for writer in writers {
            writer.await.expect("no panic");
        }
        assert_eq!([peer.of(1).bytes, peer.of(3).bytes], [vec![1; LEN], vec![3; LEN]]);
        node.end().await;
    });
}
