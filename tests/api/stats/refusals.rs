//! What was asked for and not granted, each under its reason and nothing under another.

use crate::support::manager::{Call, Recorder};
use crate::support::node::Node;
use crate::support::outcome::waits;
use crate::support::pair::{pattern, settle, slow, stream};
use crate::support::peer::{Peer, update};
use crate::support::{Pipe, Transport, pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::stats::Refusals;
use sluicegate::wire::Flags;
use sluicegate::{Config, ConfigBuilder, MemoryLimit, Priority, ReceiveCharge, RefusedOpen};
use std::sync::Arc;
use std::time::Duration;

const WINDOW: usize = 256 * 1024;

async fn client(builder: ConfigBuilder) -> (Node<Pipe>, Peer<Pipe>) {
    let (near, far) = pipe(1 << 21);
    let (client, mut peer) = (Node::client(near, builder.build().expect("valid")), Peer::new(far));
    peer.greet().await;
    (client, peer)
}

async fn refusals<T: Transport>(node: &Node<T>) -> Refusals {
    node.call(|connection| connection.stats().refusals).await
}

/// The figures in the order of their fields.
fn list(refusals: Refusals) -> [u64; 8] {
    [
        refusals.incoming_by_memory,
        refusals.incoming_by_backlog,
        refusals.incoming_by_limit,
        refusals.incoming_by_go_away,
        refusals.opens,
        refusals.windows,
        refusals.credit,
        refusals.send_buffers,
    ]
}

/// The peer opens these streams; the last of them are refused.
async fn open(peer: &mut Peer<Pipe>, streams: &[u32], refused: &[u32]) {
    for stream in streams {
        peer.send(update(*stream, Flags::SYN, 0)).await;
    }
    for stream in refused {
        peer.expect(update(*stream, Flags::RST, 0)).await;
    }
    peer.expect_silence().await;
}

#[test]
fn streams_of_the_peer_by_memory() {
    run(async {
        let (client, mut peer) = client(quiet().memory(Arc::new(MemoryLimit::new(2 * WINDOW)))).await;
        open(&mut peer, &[2, 4, 6, 8], &[6, 8]).await;
        assert_eq!(list(refusals(&client).await), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(refusals(&client).await.incoming(), 2);
    });
}

#[test]
fn streams_of_the_peer_by_backlog() {
    run(async {
        let (client, mut peer) = client(quiet().accept_backlog(2)).await;
        open(&mut peer, &[2, 4, 6], &[6]).await;
        assert_eq!(list(refusals(&client).await), [0, 1, 0, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn streams_of_the_peer_by_their_number() {
    run(async {
        let (client, mut peer) = client(quiet().max_incoming_streams(1)).await;
        open(&mut peer, &[2, 4, 6], &[4, 6]).await;
        assert_eq!(list(refusals(&client).await), [0, 0, 2, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn streams_of_the_peer_after_a_go_away() {
    run(async {
        let (client, mut peer) = client(quiet()).await;
        open(&mut peer, &[2], &[]).await;
        client.call(|connection| connection.go_away()).await;
        peer.expect(crate::support::peer::go_away(0)).await;
        open(&mut peer, &[4], &[4]).await;
        assert_eq!(list(refusals(&client).await), [0, 0, 0, 1, 0, 0, 0, 0]);
    });
}

#[test]
fn opens_each_once_however_long_they_wait() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(WINDOW));
        let (client, _peer) = client(quiet().memory(budget.clone()).refused_open(RefusedOpen::Wait)).await;
        let first = client.open().await.expect("opens");
        let mut second = Box::pin(client.open());
        for _ in 0..3 {
            assert!(waits(&client, &mut second).await);
            assert_eq!(list(refusals(&client).await), [0, 0, 0, 0, 1, 0, 0, 0]);
        }
        drop(first);
        let second = second.await.expect("opens");
        assert_eq!(list(refusals(&client).await), [0, 0, 0, 0, 1, 0, 0, 0]);
        drop(second);
    });
    run(async {
        let budget = Arc::new(MemoryLimit::new(WINDOW));
        let (client, _peer) = client(quiet().memory(budget)).await;
        let first = client.open().await.expect("opens");
        for refused in 1..=3 {
            client.open().await.expect_err("refused");
            assert_eq!(list(refusals(&client).await), [0, 0, 0, 0, refused, 0, 0, 0]);
        }
        drop(first);
    });
}

#[test]
fn windows() {
    run(async {
        // The first windows are granted, nothing else is.
        let manager = Recorder::granting(|_, _, priority| priority == Priority::ALWAYS);
        let (near, far) = slow(Duration::from_millis(20));
        let settings = quiet().memory(manager.clone()).max_send_buffer(65_536).build().expect("valid");
        let (near, far) = (Node::client(near, Config::default()), Node::server(far, settings));
        settle(&near, &far).await;
        let (mut here, mut there) = stream(&near, &far).await;
        let (sent, mut received) = (pattern(0, 8 * WINDOW), Vec::new());
        let write = async {
            here.write_all(&sent).await.expect("writes");
            here.close().await.expect("closes");
        };
        let ((), read) = futures::join!(write, there.read_to_end(&mut received));
        read.expect("reads");
        let refused = manager.calls().iter().filter(|call| matches!(call, Call::Refuse(..))).count() as u64;
        assert!(refused > 0 && received == sent);
        assert_eq!(list(refusals(&far).await), [0, 0, 0, 0, 0, refused, 0, 0]);
        assert_eq!(there.stats().receive_window, WINDOW as u32);
    });
}

#[test]
fn windows_that_an_application_expects() {
    let manager = Recorder::granting(|_, _, priority| priority == Priority::ALWAYS);
    let mut line = crate::support::line::Line::new(quiet().memory(manager));
    let [stream] = line.open(Priority::MEDIUM, 0);
    stream.grow_receive_window(WINDOW as u32);
    assert_eq!(list(line.connection.stats().refusals), [0, 0, 0, 0, 0, 0, 0, 0]);
    stream.grow_receive_window(2 * WINDOW as u32);
    assert_eq!(list(line.connection.stats().refusals), [0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn send_buffers() {
    run(async {
        let manager = Recorder::granting(|_, _, priority| priority == Priority::ALWAYS);
        let mut line = crate::support::line::Line::new(quiet().memory(manager));
        let [mut stream] = line.open(Priority::MEDIUM, 0);
        let written = [(); 2].map(|()| crate::support::line::write(&mut stream, &vec![7; WINDOW])).iter().sum();
        assert!((1..64 * 1024).contains(&written), "{written} bytes without a reservation");
        assert_eq!(list(line.connection.stats().refusals), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(stream.stats().unsent, written);
    });
}

#[test]
fn credit_by_memory() {
    run(async {
        // LOW may fill 408 KiB of it.
        let settings = quiet().memory(Arc::new(MemoryLimit::new(1 << 20))).receive_charge(ReceiveCharge::Buffered);
        let (client, mut peer) = client(settings.default_priority(Priority::LOW)).await;
        let mut streams = Vec::new();
        for stream in [2, 4] {
            peer.send(update(stream, Flags::SYN, 0)).await;
            streams.push(client.accept().await.expect("a stream"));
            peer.expect(update(stream, Flags::ACK, 0)).await;
            peer.send_data(stream, Flags::NONE, &pattern(0, WINDOW)).await;
        }
        peer.expect_silence().await;
        let mut read = vec![0; WINDOW / 2];
        streams[0].read_exact(&mut read).await.expect("it is there");
        // Its half window is owed: 384 KiB, what is ahead and 128 more.
        peer.expect_quiet().await;
        let list = list(refusals(&client).await);
        assert!(list[6] > 0, "no credit was denied");
        assert_eq!([&list[..6], &list[7..]].concat(), [0; 7]);
    });
}
