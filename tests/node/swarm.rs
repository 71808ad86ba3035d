//! libp2p swarms over TCP and Noise: this muxer on both ends, and against `libp2p-yamux` in both roles.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod away;
mod ends;
mod host;
mod memory_transport;
mod protocols;
use crate::support::{pattern, run_threaded};
use futures::{AsyncReadExt, AsyncWriteExt};
use host::{Host, Muxer, Notice, Pings};
use libp2p::swarm::ConnectionError;
use libp2p::{PeerId, Stream};
use libp2p_stream::OpenStreamError;
use sluicegate::{Config, MemoryLimit, Side};
use std::io;
use std::sync::Arc;

const WINDOW: usize = 256 << 10;

/// This crate with a budget.
fn ours(budget: &Arc<MemoryLimit>) -> Muxer {
    Muxer::Ours(Config::builder().memory(budget.clone()).build().expect("valid"))
}

/// Who dials whom.
fn pairings(budget: &Arc<MemoryLimit>) -> [(Muxer, Muxer); 4] {
    [
        (ours(budget), ours(budget)),
        (ours(budget), Muxer::Libp2p),
        (Muxer::Libp2p, ours(budget)),
        (Muxer::Default, ours(budget)),
    ]
}

/// Waits until no more than `bytes` are reserved.
async fn reserved_falls_to(budget: &MemoryLimit, bytes: usize) {
    while budget.reserved() > bytes {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Requests, pings and streams at once between two hosts, both ways; then nothing is left of it.
fn conversation(pairing: usize) {
    run_threaded(async {
        let budget = Arc::new(MemoryLimit::new(256 << 20));
        let [dialer, listener] = <[Muxer; 2]>::from(pairings(&budget)[pairing].clone());
        let (mut dialer, mut listener) = (Host::new(dialer, Pings::On).await, Host::new(listener, Pings::On).await);
        dialer.connect(&mut listener).await;
        let (here, there) = (dialer.id, listener.id);
        streams(&mut dialer, there, 100).await;
        streams(&mut listener, here, 20).await;
        tokio::join!(requests(&dialer, there), requests(&listener, here));
        for host in [&mut dialer, &mut listener] {
            assert!(matches!(host.notice().await, Notice::Pinged));
            host.expect_connected();
        }
        assert_ne!(budget.peak(), 0);
        tokio::join!(dialer.stop(), listener.stop());
        reserved_falls_to(&budget, 0).await;
    });
}

#[test]
fn conversation_of_ours_with_ours() {
    conversation(0);
}

#[test]
fn conversation_where_ours_dials_libp2p_yamux() {
    conversation(1);
}

#[test]
fn conversation_where_libp2p_yamux_dials_ours() {
    conversation(2);
}

#[test]
fn conversation_of_the_default_with_ours() {
    conversation(3);
}

/// Requests of all sizes at once.
async fn requests(host: &Host, peer: PeerId) {
    let sizes = [0, 1, 1000, 65_536, WINDOW, WINDOW + 1, 1 << 20];
    futures::future::join_all(sizes.map(|len| async move {
        let request: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let mut expected = request.clone();
        expected.reverse();
        assert!(host.request(peer, request).await == expected, "{len} bytes");
    }))
    .await;
}

/// Streams that are used at once, each from a task of its own, or from one for each half.
async fn streams(host: &mut Host, peer: PeerId, count: usize) {
    const LEN: usize = 200 << 10;
    let mut tasks = Vec::new();
    for seed in 0..count {
        let stream = host.open(peer).await.expect("opens");
        if seed % 2 == 0 {
            tasks.push(tokio::spawn(pattern::exchange(stream, (seed, LEN), (seed, LEN))));
            continue;
        }
        let (mut reader, mut writer) = stream.split();
        tasks.push(tokio::spawn(async move {
            pattern::send(&mut writer, seed, 0, LEN).await.expect("the stream takes it");
            writer.close().await.expect("closes");
        }));
        tasks.push(tokio::spawn(async move {
            pattern::receive(&mut reader, seed, 0, LEN).await;
            pattern::expect_end(&mut reader).await;
        }));
    }
    for task in tasks {
        task.await.expect("every byte comes back");
    }
}

/// A listener with memory for a few streams, and a dialer that wants more.
fn refusals(dialer: Muxer, refused: fn(&OpenStreamError) -> bool) {
    const ROOM: usize = 8;
    run_threaded(async move {
        let budget = Arc::new(MemoryLimit::new(ROOM * WINDOW));
        let mut dialer = Host::new(dialer, Pings::Off).await;
        let mut listener = Host::new(ours(&budget), Pings::Off).await;
        dialer.connect(&mut listener).await;
        let mut live: Vec<Stream> = Vec::new();
        for _ in 0..ROOM {
            live.push(dialer.open(listener.id).await.expect("there is memory"));
        }
        assert_eq!(budget.reserved(), ROOM * WINDOW);
        for _ in 0..4 {
            let error = dialer.open(listener.id).await.expect_err("there is no memory");
            assert!(refused(&error), "{error:?}");
        }
        assert_eq!(budget.reserved(), ROOM * WINDOW);
        // The others live, and make room when they are done.
        for stream in live.drain(1..) {
            pattern::exchange(stream, (1, WINDOW), (1, WINDOW)).await;
        }
        reserved_falls_to(&budget, WINDOW).await;
        live.push(dialer.open(listener.id).await.expect("there is memory again"));
        for stream in live {
            pattern::exchange(stream, (2, WINDOW), (2, WINDOW)).await;
        }
        dialer.expect_connected();
        listener.expect_connected();
        tokio::join!(dialer.stop(), listener.stop());
        reserved_falls_to(&budget, 0).await;
    });
}

#[test]
fn y_open_11_refused_streams_of_ours_fail_alone() {
    refusals(
        Muxer::Default,
        |error| matches!(error, OpenStreamError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset),
    );
}

#[test]
fn y_open_11_refused_streams_of_libp2p_yamux_fail_alone() {
    refusals(Muxer::Libp2p, |error| matches!(error, OpenStreamError::UnsupportedProtocol(_)));
}

/// The reason that this crate gave for the end of a connection.
fn reason(cause: Option<ConnectionError>) -> sluicegate::ConnectionError {
    let Some(ConnectionError::IO(error)) = cause else { panic!("{cause:?}") };
    error.get_ref().and_then(|inner| inner.downcast_ref().cloned()).expect("an error of this crate")
}

#[test]
fn y_close_1_a_disconnect_is_a_closed_connection_for_the_other() {
    run_threaded(async {
        let budget = Arc::new(MemoryLimit::new(64 << 20));
        for (dialer, listener) in pairings(&budget) {
            for dialer_leaves in [true, false] {
                let other = if dialer_leaves { listener.clone() } else { dialer.clone() };
                let mut dialer = Host::new(dialer.clone(), Pings::Off).await;
                let mut listener = Host::new(listener.clone(), Pings::Off).await;
                dialer.connect(&mut listener).await;
                requests(&dialer, listener.id).await;
                let (leaves, stays) =
                    if dialer_leaves { (&mut dialer, &mut listener) } else { (&mut listener, &mut dialer) };
                leaves.disconnect(stays.id);
                assert!(leaves.closed().await.is_none(), "who disconnects knows why");
                let cause = stays.closed().await;
                if !matches!(other, Muxer::Libp2p) {
                    let reason = reason(cause);
                    assert!(matches!(reason, sluicegate::ConnectionError::Closed { by: Side::Remote }), "{reason:?}");
                }
                tokio::join!(dialer.stop(), listener.stop());
            }
        }
        reserved_falls_to(&budget, 0).await;
    });
}
