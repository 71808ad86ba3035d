//! A connection goes by the clock that it was given: here one in virtual time, so that minutes take no time at all.

use crate::support::clock::{now, paused, run_paused};
use crate::support::node::Node;
use crate::support::pair::stream;
use crate::support::peer::{Peer, update};
use crate::support::{pipe, quiet};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::Flags;
use sluicegate::{Config, ConnectionError, MemoryLimit, Mode, RefusedOpen, Session};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Alarms of the runtime ring up to a millisecond late.
const LATE: Duration = Duration::from_millis(2);

#[track_caller]
fn assert_took(took: Duration, expected: Duration) {
    assert!(took >= expected && took <= expected + LATE, "{took:?}, not {expected:?}");
}

#[test]
fn deadlines_are_by_the_clock_of_the_connection() {
    run_paused(async {
        let config = paused(quiet()).build().expect("valid");
        let (near, far) = pipe(1 << 20);
        let (client, server) = (Node::client(near, config.clone()), Node::server(far, config));
        let (mut near, mut far) = stream(&client, &server).await;
        let start = now();
        near.set_read_deadline(Some(start + 300 * SECOND));
        let error = near.read(&mut [0; 8]).await.expect_err("nothing comes");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_took(now() - start, 300 * SECOND);
        near.set_read_deadline(Some(now() + 300 * SECOND));
        far.write_all(b"in time").await.expect("credit");
        far.flush().await.expect("flushed");
        near.read_exact(&mut [0; 7]).await.expect("in time");
    });
}

#[test]
fn a_dead_peer_is_noticed_by_the_clock_of_the_connection() {
    run_paused(async {
        let (near, _far) = pipe(1 << 20);
        let config = paused(Config::builder()).build().expect("valid");
        let start = now();
        let (_session, driver) = Session::new(near, config, Mode::Client);
        let ended = driver.await.expect_err("nobody answers");
        assert!(matches!(ended, ConnectionError::KeepAliveTimeout), "{ended:?}");
        assert!(now() - start >= 10 * SECOND && now() - start <= 41 * SECOND, "{:?}", now() - start);
    });
}

#[test]
fn y_close_3_a_close_takes_a_round_trip_and_at_most_a_second() {
    for (answers_after, takes) in [(80, 80), (999, 999), (5_000, 1000)] {
        run_paused(async move {
            let [answers_after, takes] = [answers_after, takes].map(Duration::from_millis);
            let (near, far) = pipe(1 << 20);
            let (session, driver) = Session::new(near, paused(quiet()).build().expect("valid"), Mode::Client);
            tokio::spawn(driver);
            let mut stream = session.open().await.expect("opens");
            stream.write_all(b"what was written leaves").await.expect("room");
            let mut peer = Peer::new(far);
            peer.expect(update(1, Flags::SYN, 0)).await;
            let start = now();
            let answer = async {
                peer.expect_data(1, b"what was written leaves").await;
                peer.expect_end(0).await;
                tokio::time::sleep(answers_after).await;
                drop(peer);
            };
            let (closed, ()) = tokio::join!(
                async {
                    let closed = session.close().await;
                    assert_took(now() - start, takes);
                    closed
                },
                answer
            );
            closed.expect("in good order");
            let error = stream.read(&mut [0; 8]).await.expect_err("it has not ended");
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        });
    }
}

#[test]
fn a_wait_for_memory_is_by_the_clock_of_the_connection() {
    run_paused(async {
        let budget = Arc::new(MemoryLimit::new(256 << 10));
        let settings = paused(quiet()).memory(budget.clone()).refused_open(RefusedOpen::Wait);
        let (near, far) = pipe(1 << 20);
        let client = Node::client(near, settings.build().expect("valid"));
        let _server = Node::server(far, quiet().build().expect("valid"));
        let held = client.open().await.expect("there is room for one");
        let waiting = tokio::time::timeout(3600 * SECOND, client.open());
        assert!(waiting.await.is_err(), "there is no room for two");
        drop(held);
        client.open().await.expect("there is room again");
    });
}
