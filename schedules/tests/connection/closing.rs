//! The end of a connection, against those who use it: what was taken before arrives, and each is told.

use futures::{AsyncReadExt, AsyncWriteExt};
use shuttle::future::spawn;
use sluicegate::{ConnectionError, Mode, OpenError, PingError, Side, Stream, StreamError};
use sluicegate_schedules::{Node, explore, settings};
use std::io;

/// Why the connection of a stream has ended.
fn reason(error: &io::Error) -> &ConnectionError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(StreamError::Connection(reason)) => reason,
        _ => panic!("{error:?} does not come from the connection"),
    }
}

/// Writes for as long as that is possible; says how many bytes were taken, and why no more.
async fn write_on(mut stream: Stream) -> (usize, io::Error) {
    let mut taken = 0;
    loop {
        match stream.write(&[7; 20 * 1024]).await {
            Ok(written) => taken += written,
            Err(error) => return (taken, error),
        }
    }
}

/// The writer is stopped by the room, by the credit or by the close, whichever comes first.
#[test]
fn a_close_stops_a_writer_and_what_it_has_written_arrives() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 64 * 1024, settings());
        let stream = node.session.open().await.expect("opens");
        let writer = spawn(write_on(stream));
        let session = node.session.clone();
        let closer = spawn(async move { session.close().await });
        peer.hear(|peer| peer.away == [0]).await;
        peer.shut().await;
        closer.await.expect("no panic").expect("in good order");
        let (taken, error) = writer.await.expect("no panic");
        assert_eq!(peer.of(1).bytes.len(), taken);
        assert!(matches!(reason(&error), ConnectionError::Closed { by: Side::Local }), "{error}");
        node.driver.await.expect("no panic").expect("in good order");
        assert_eq!(node.memory.reserved(), 0);
    });
}

/// Nobody of those who wait has anything else to be woken by.
#[test]
fn whoever_waits_learns_that_the_transport_is_lost() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings().accept_backlog(1));
        let mut stream = node.session.open().await.expect("opens");
        stream.flush().await.expect("it leaves");
        let (accepting, opening, pinging) = (node.session.clone(), node.session.clone(), node.session.clone());
        let reader = spawn(async move { stream.read(&mut [0; 8]).await });
        let acceptor = spawn(async move { accepting.accept().await });
        let opener = spawn(async move { opening.open().await });
        let pinger = spawn(async move { pinging.ping().await });
        peer.hear(|peer| !peer.streams.is_empty()).await;
        drop(peer);
        // Whether it is an end of file or a write that fails hangs on what was under way.
        let lost = |reason: &ConnectionError| matches!(reason, ConnectionError::Io(_) | ConnectionError::UnexpectedEof);
        let lost = |reason: ConnectionError| assert!(lost(&reason), "{reason:?}");
        lost(reason(&reader.await.expect("no panic").expect_err("nothing was sent")).clone());
        lost(acceptor.await.expect("no panic").expect_err("nothing was opened"));
        match opener.await.expect("no panic") {
            Err(OpenError::Connection(reason)) => lost(reason),
            other => panic!("{other:?} though the backlog is full"),
        }
        match pinger.await.expect("no panic") {
            // The first ping is the connection's own, which the peer answers, and which may be shared.
            Ok(_) => {}
            Err(PingError::Connection(reason)) => lost(reason),
            Err(other) => panic!("{other}"),
        }
        node.end().await;
    });
}
