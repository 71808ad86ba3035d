//! The two halves of a stream in two tasks: each waits for itself.

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use shuttle::future::spawn;
use sluicegate::wire::Flags;
use sluicegate::{Mode, Side, Stream, StreamError};
use sluicegate_schedules::{End, Node, WINDOW, explore, pair, settings};
use std::io;

async fn read(mut half: ReadHalf<Stream>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    half.read_to_end(&mut bytes).await.map(|_| bytes)
}

async fn write(mut half: WriteHalf<Stream>, bytes: Vec<u8>) -> io::Result<()> {
    half.write_all(&bytes).await?;
    half.close().await
}

/// The writer waits for credit, the reader for bytes, and neither comes before both wait or after.
#[test]
fn a_reader_and_a_writer_that_wait_are_both_woken() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, WINDOW, settings().max_send_buffer(2 * WINDOW));
        let (reader, writer) = node.session.open().await.expect("opens").split();
        let reader = spawn(read(reader));
        let writer = spawn(write(writer, vec![1; WINDOW + 1]));
        peer.hear(|peer| peer.of(1).bytes.len() == WINDOW).await;
        peer.send_data(1, Flags::ACK | Flags::FIN, b"answer").await;
        peer.send_update(1, Flags::NONE, 1).await;
        peer.hear(|peer| peer.of(1).flags.contains(Flags::FIN)).await;
        assert_eq!(peer.of(1).bytes.len(), WINDOW + 1);
        assert_eq!(reader.await.expect("no panic").expect("to its end"), b"answer");
        writer.await.expect("no panic").expect("it leaves");
        node.end().await;
    });
}

#[test]
fn a_reset_wakes_a_reader_and_a_writer() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 64 * 1024, settings());
        let (reader, writer) = node.session.open().await.expect("opens").split();
        let reader = spawn(read(reader));
        let writer = spawn(write(writer, vec![1; WINDOW + 1]));
        peer.hear(|peer| !peer.of(1).bytes.is_empty()).await;
        peer.send_update(1, Flags::RST, 5).await;
        // A transport that nobody reads is another matter.
        let hearing = spawn(async move { peer.hear(|peer| peer.end == End::Heard).await });
        for result in [reader.await.expect("no panic").map(drop), writer.await.expect("no panic")] {
            let error = result.expect_err("the stream was reset");
            let reset = error.get_ref().and_then(|inner| inner.downcast_ref::<StreamError>());
            assert!(matches!(reset, Some(StreamError::Reset { by: Side::Remote, code: 5 })), "{error:?}");
        }
        node.end().await;
        hearing.await.expect("no panic");
    });
}

/// Both ends write more than their transport and their buffers hold before they read: a blocked write stops no reading.
#[test]
fn two_ends_that_both_write_first_get_through() {
    const LEN: usize = 40 * 1024;
    explore(|| async {
        let (near, far) = pair(16 * 1024, &settings());
        let opened = near.session.open().await.expect("opens");
        let session = far.session.clone();
        let accepting = spawn(async move {
            let (reader, writer) = session.accept().await.expect("it arrives").split();
            let writer = spawn(write(writer, vec![2; LEN]));
            (read(reader).await, writer.await.expect("no panic"))
        });
        let (reader, writer) = opened.split();
        let writer = spawn(write(writer, vec![1; LEN]));
        let heard = read(reader).await.expect("to its end");
        writer.await.expect("no panic").expect("it leaves");
        let (question, answered) = accepting.await.expect("no panic");
        answered.expect("it leaves");
        assert_eq!([question.expect("to its end"), heard], [vec![1; LEN], vec![2; LEN]]);
        near.end().await;
        far.end().await;
    });
}
