//! Priorities by protocol, in real swarms: nobody but the muxer knows of them, and every byte arrives all the same.

use super::host::{ECHO, Host, Muxer, Pings, REVERSE};
use super::{WINDOW, requests};
use crate::support::{pattern, pipe, quiet, run, run_threaded};
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::StreamMuxer;
use libp2p::core::upgrade::Version;
use sluicegate::stats::{NodeStats, ReservedBytes};
use sluicegate::{Config, Connection, Mode, Priority, Stream};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A muxer that knows which protocols are urgent, and what it was asked.
struct Knowing {
    muxer: Muxer,
    stats: NodeStats,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Knowing {
    fn new() -> Self {
        let (stats, asked) = (NodeStats::default(), Arc::new(Mutex::new(BTreeSet::new())));
        let names = asked.clone();
        let by_protocol = move |protocol: &str| {
            names.lock().unwrap().insert(protocol.to_owned());
            match protocol {
                echo if echo == ECHO.as_ref() => Priority::LOW,
                reverse if reverse == REVERSE.as_ref() => Priority::HIGH,
                _ => Priority::MEDIUM,
            }
        };
        let config = Config::builder().stats(stats.clone()).priority_by_protocol(by_protocol).build();
        Self { muxer: Muxer::Ours(config.expect("valid")), stats, asked }
    }

    /// Waits until the streams that are open are these, by what they reserve.
    async fn settles_at(&self, low: usize) {
        let mut expected = ReservedBytes::default();
        expected.low = low * WINDOW;
        while self.stats.total().reserved != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Streams of one host to the other, with the priority of their protocol at every end of ours, and requests of another.
async fn talk(dialler: Muxer, listener: Muxer, version: Version, ours: &[&Knowing]) {
    let mut dialler = Host::negotiating(dialler, Pings::Off, version).await;
    let mut listener = Host::negotiating(listener, Pings::Off, version).await;
    dialler.connect(&mut listener).await;
    let there = listener.id;
    let mut streams = Vec::new();
    for count in 1..=3 {
        streams.push(dialler.open(there).await.expect("opens"));
        for end in ours {
            end.settles_at(count).await;
        }
    }
    requests(&dialler, there).await;
    for stream in streams {
        pattern::exchange(stream, (1, 100_000), (1, 100_000)).await;
    }
    for end in ours {
        end.settles_at(0).await;
        let asked = end.asked.lock().unwrap();
        assert!(asked.iter().map(String::as_str).eq([ECHO.as_ref(), REVERSE.as_ref()]), "{asked:?}");
    }
    dialler.expect_connected();
    listener.expect_connected();
    tokio::join!(dialler.stop(), listener.stop());
}

#[test]
fn ours_with_ours() {
    for version in [Version::V1, Version::V1Lazy] {
        let ends = [Knowing::new(), Knowing::new()];
        run_threaded(talk(ends[0].muxer.clone(), ends[1].muxer.clone(), version, &[&ends[0], &ends[1]]));
    }
}

#[test]
fn ours_dials_libp2p_yamux() {
    for version in [Version::V1, Version::V1Lazy] {
        let end = Knowing::new();
        run_threaded(talk(end.muxer.clone(), Muxer::Libp2p, version, &[&end]));
    }
}

#[test]
fn libp2p_yamux_dials_ours() {
    for version in [Version::V1, Version::V1Lazy] {
        let end = Knowing::new();
        run_threaded(talk(Muxer::Libp2p, end.muxer.clone(), version, &[&end]));
    }
}

/// What a dialler sends for `/echo`, and a listener that takes it answers.
const LINES: &[u8] = b"\x13/multistream/1.0.0\n\x06/echo\n";

/// Both ends of a stream, as a swarm gets them before it puts them into a box.
async fn boxed() -> (Stream, Stream) {
    let config = || quiet().priority_by_protocol(|name| Priority::new(name.len() as u8)).build().expect("valid");
    let (near, far) = pipe(4096);
    let mut near = Connection::new(near, config(), Mode::Client);
    let mut far = Connection::new(far, config(), Mode::Server);
    let mut here = poll_fn(|cx| StreamMuxer::poll_outbound(Pin::new(&mut near), cx)).await.expect("opens");
    tokio::spawn(async move { poll_fn(|cx| near.poll(cx)).await });
    here.flush().await.expect("announces itself");
    let accepted = poll_fn(|cx| {
        let _ = far.poll(cx);
        StreamMuxer::poll_inbound(Pin::new(&mut far), cx)
    });
    let there = accepted.await.expect("accepts");
    tokio::spawn(async move { poll_fn(|cx| far.poll(cx)).await });
    (here, there)
}

/// Reads the lines in one of the ways in which a stream can be read.
async fn read_lines(stream: &mut Stream, way: usize) {
    let mut lines = Vec::new();
    while lines.len() < LINES.len() {
        match way {
            0 => {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.expect("reads");
                lines.extend(byte);
            }
            1 => {
                let piece = stream.fill_buf().await.expect("reads").to_vec();
                stream.consume_unpin(piece.len());
                lines.extend(piece);
            }
            _ => lines.extend(stream.read_bytes().await.expect("reads").expect("not the end")),
        }
    }
    assert_eq!(lines, LINES);
}

#[test]
fn the_dialler_knows_with_its_proposal_and_the_listener_with_its_answer() {
    for way in 0..3 {
        run(async {
            let (mut here, mut there) = boxed().await;
            assert_eq!(here.priority(), Priority::default());
            here.write_all(LINES).await.expect("writes");
            assert_eq!(here.priority(), Priority::new(5));
            here.flush().await.expect("flushes");
            read_lines(&mut there, way).await;
            assert_eq!(there.priority(), Priority::default());
            there.write_all(LINES).await.expect("writes");
            assert_eq!(there.priority(), Priority::new(5));
            there.flush().await.expect("flushes");
            read_lines(&mut here, way).await;
            // It is over: nothing that looks like a proposal and its answer changes anything.
            let other = b"\x09/another\n";
            for _ in 0..2 {
                here.write_all(other).await.expect("writes");
                here.flush().await.expect("flushes");
                there.read_exact(&mut [0; 10]).await.expect("reads");
                std::mem::swap(&mut here, &mut there);
            }
            assert_eq!([here.priority(), there.priority()], [Priority::new(5); 2]);
        });
    }
}

#[test]
fn a_priority_that_was_set_is_kept() {
    run(async {
        let (mut here, mut there) = boxed().await;
        here.set_priority(Priority::ALWAYS);
        // Also where it is what the stream was by default.
        there.set_priority(Priority::MEDIUM);
        here.write_all(LINES).await.expect("writes");
        here.flush().await.expect("flushes");
        read_lines(&mut there, 0).await;
        there.write_all(LINES).await.expect("writes");
        there.flush().await.expect("flushes");
        read_lines(&mut here, 0).await;
        assert_eq!([here.priority(), there.priority()], [Priority::ALWAYS, Priority::MEDIUM]);
    });
}
