//! Frames and bytes, windows and round trips: as the taps saw them cross.

use crate::support::node::Node;
use crate::support::pair::{WINDOW, pair, pattern, settle, slow, stream};
use crate::support::peer::{Peer, data, pong, update};
use crate::support::{pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::stats::Traffic;
use sluicegate::wire::{Direction, TapEvent};
use sluicegate::wire::{Flags, Header};
use sluicegate::{ConfigBuilder, ConnectionError, Violation};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a tap was handed.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<TapEvent>>>);

impl Seen {
    fn by(&self, builder: ConfigBuilder) -> ConfigBuilder {
        let seen = self.0.clone();
        builder.tap(move |event| seen.lock().unwrap().push(event.clone()))
    }

    fn bytes(&self, way: Direction) -> Vec<[u8; 12]> {
        let seen = self.0.lock().unwrap();
        seen.iter().filter(|event| event.direction == way).map(|event| event.header).collect()
    }

    fn headers(&self, way: Direction) -> Vec<Header> {
        self.bytes(way).iter().map(|bytes| Header::decode(bytes).expect("legal")).collect()
    }

    /// The figures that what was seen adds up to: data frames, bytes in them, window updates, pings, go-aways.
    fn counted(&self, way: Direction) -> [u64; 5] {
        let mut counted = [0; 5];
        for header in self.headers(way) {
            match header {
                Header::Data { len, .. } => (counted[0], counted[1]) = (counted[0] + 1, counted[1] + u64::from(len)),
                Header::WindowUpdate { .. } => counted[2] += 1,
                Header::Ping { .. } => counted[3] += 1,
                Header::GoAway { .. } => counted[4] += 1,
            }
        }
        counted
    }
}

fn figures(traffic: &Traffic) -> [u64; 5] {
    [traffic.data_frames, traffic.data_bytes, traffic.window_update_frames, traffic.ping_frames, traffic.go_away_frames]
}

#[test]
fn every_frame_is_counted_once_and_shown_to_both_taps() {
    run(async {
        let [near_seen, far_seen] = [Seen::default(), Seen::default()];
        let [near, far] = [&near_seen, &far_seen].map(|seen| seen.by(quiet()).build().expect("valid"));
        let (near, far) = pair(near, far, 4096);
        let (mut here, mut there) = stream(&near, &far).await;
        let bytes = pattern(1, 3 * WINDOW);
        let mut read = vec![0; bytes.len()];
        let (written, filled) = futures::join!(here.write_all(&bytes), there.read_exact(&mut read));
        written.and(filled).expect("arrives");
        here.close().await.expect("closes");
        there.write_all(b"and back").await.expect("writes");
        there.flush().await.expect("flushes");
        settle(&near, &far).await;
        far.call(|connection| connection.go_away()).await;
        settle(&near, &far).await;
        let [ours, theirs] = [near.call(|c| c.stats()).await, far.call(|c| c.stats()).await];
        assert_eq!((ours.sent, ours.received), (theirs.received, theirs.sent));
        assert_eq!((ours.sent.data_bytes, ours.received.data_bytes), (3 * WINDOW as u64, 8));
        assert_eq!((ours.sent.go_away_frames, ours.received.go_away_frames), (0, 1));
        for (stats, seen) in [(&ours, &near_seen), (&theirs, &far_seen)] {
            assert_eq!(figures(&stats.sent), seen.counted(Direction::Outbound));
            assert_eq!(figures(&stats.received), seen.counted(Direction::Inbound));
        }
        assert_eq!(near_seen.headers(Direction::Outbound), far_seen.headers(Direction::Inbound));
        assert_eq!(far_seen.headers(Direction::Outbound), near_seen.headers(Direction::Inbound));
        // All but pings and the go-away belong to the one stream there was.
        let (mine, yours) = (here.stats(), there.stats());
        for (connection, stream) in [(&ours, &mine), (&theirs, &yours)] {
            for (all, own) in [(&connection.sent, &stream.sent), (&connection.received, &stream.received)] {
                assert_eq!(figures(all)[..3], figures(own)[..3]);
                assert_eq!(figures(own)[3..], [0, 0]);
            }
        }
        assert_eq!((mine.unread, mine.unsent, yours.unread, yours.unsent), (8, 0, 0, 0));
    });
}

#[test]
fn a_tap_is_shown_the_header_that_breaks_the_protocol() {
    run(async {
        let (seen, (near, far)) = (Seen::default(), pipe(4096));
        let (client, mut peer) = (Node::client(near, seen.by(quiet()).build().expect("valid")), Peer::new(far));
        let broken = [0, 7, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        peer.send_raw(&[update(2, Flags::SYN, 0).encode(), broken].concat()).await;
        let ended = client.ended().await;
        assert!(matches!(ended, Err(ConnectionError::Violation(Violation::FrameType(7)))), "{ended:?}");
        assert_eq!(seen.bytes(Direction::Inbound), [update(2, Flags::SYN, 0).encode(), broken]);
        assert_eq!(seen.headers(Direction::Outbound).last(), Some(&Header::GoAway { code: 1 }));
    });
}

#[test]
fn what_comes_after_the_end_is_shown_to_nobody() {
    run(async {
        let (seen, (near, far)) = (Seen::default(), pipe(4096));
        let (client, mut peer) = (Node::client(near, seen.by(quiet()).build().expect("valid")), Peer::new(far));
        let late = update(2, Flags::SYN, 0).encode();
        peer.send_raw(&[Header::GoAway { code: 9 }.encode(), late, late].concat()).await;
        assert!(matches!(client.ended().await, Err(ConnectionError::GoAway { code: 9, .. })));
        assert_eq!(seen.headers(Direction::Inbound), [Header::GoAway { code: 9 }]);
        assert_eq!(client.call(|c| c.stats().received.frames()).await, 1);
    });
}

#[test]
fn bytes_are_unread_when_they_have_arrived_and_until_they_are_dropped() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let (client, mut peer) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
        peer.greet().await;
        peer.send(update(2, Flags::SYN, 0)).await;
        let mut stream = client.accept().await.expect("accepts");
        peer.expect(update(2, Flags::ACK, 0)).await;
        peer.feed(data(2, Flags::NONE, 1000)).await;
        peer.send_raw(&[7; 10]).await;
        // A body is not complete, so nothing can be asked of the other end: it has to come by itself.
        while stream.stats().unread < 10 {
            tokio::task::yield_now().await;
        }
        assert_eq!((stream.stats().unread, stream.stats().received.data_bytes), (10, 10));
        peer.send_raw(&[7; 990]).await;
        peer.expect_silence().await;
        assert_eq!((stream.stats().unread, stream.stats().received.data_bytes), (1000, 1000));
        stream.read_exact(&mut [0; 400]).await.expect("reads");
        assert_eq!(stream.stats().unread, 600);
        stream.reset(0);
        assert_eq!(stream.stats().unread, 0);
    });
}

#[test]
fn events_name_their_connection_and_their_time() {
    run(async {
        let before = std::time::Instant::now();
        let events = Arc::new(Mutex::new(Vec::new()));
        let tapped = events.clone();
        let config = quiet().tap(move |event| tapped.lock().unwrap().push(event.clone())).build().expect("valid");
        let (near, far) = pair(config.clone(), config, 4096);
        settle(&near, &far).await;
        let ids = [near.call(|c| c.id()).await, far.call(|c| c.id()).await];
        let events = events.lock().unwrap();
        assert!(ids.iter().all(|id| events.iter().any(|event| event.connection == *id)));
        assert!(events.iter().all(|event| ids.contains(&event.connection)));
        assert!(events.is_sorted_by_key(|event| event.at) && events[0].at >= before);
    });
}

#[test]
fn windows_now_and_at_their_largest() {
    run(async {
        let (near, far) = pipe(1 << 20);
        let (client, mut peer) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
        peer.greet().await;
        let mut stream = client.open().await.expect("opens");
        stream.write_all(b"five!").await.expect("writes");
        stream.flush().await.expect("flushes");
        assert_eq!(peer.next_header().await, update(1, Flags::SYN, 0));
        peer.expect_data(1, b"five!").await;
        let window = WINDOW as u32;
        let before = stream.stats();
        assert_eq!((before.send_window, before.largest_send_window), (window - 5, window));
        peer.send(update(1, Flags::ACK, 1000)).await;
        peer.send_data(1, Flags::NONE, b"seven..").await;
        peer.expect_silence().await;
        let after = stream.stats();
        assert_eq!((after.send_window, after.largest_send_window), (window + 995, window + 995));
        assert_eq!((after.receive_window, after.largest_receive_window, after.unread), (window, window, 7));
        assert_eq!(after.reserved, WINDOW);
        stream.grow_receive_window(3 * window);
        assert_eq!((stream.stats().receive_window, stream.stats().reserved), (3 * window, 3 * WINDOW));
        assert_eq!(client.call(|c| c.stats().largest_window).await, 3 * window);
    });
}

#[test]
fn round_trips_latest_and_shortest() {
    run(async {
        let delay = Duration::from_millis(20);
        let (near, far) = slow(delay);
        let (near, far) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
        let peer = tokio::spawn(async move {
            let mut far = far;
            while far.next().await.is_some() {}
        });
        assert_eq!(near.call(|c| c.stats().rtt).await, None);
        let first = near.ping().await.expect("is answered");
        assert!(first >= 2 * delay);
        let second = near.ping().await.expect("is answered");
        let stats = near.call(|c| c.stats()).await;
        // The connection's own first ping may have left before the call.
        let shortest = stats.min_rtt.expect("measured");
        assert_eq!(stats.rtt, Some(second));
        assert!(shortest >= 2 * delay && shortest <= first.min(second), "{shortest:?}");
        peer.abort();
    });
}

#[test]
fn streams_by_where_they_are() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let (client, mut peer) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
        peer.greet().await;
        let (first, second) = (client.open().await.expect("opens"), client.open().await.expect("opens"));
        for stream in [2, 4, 6] {
            peer.send(update(stream, Flags::SYN, 0)).await;
        }
        let accepted = client.accept().await.expect("accepts");
        peer.expect(update(2, Flags::ACK, 0)).await;
        peer.expect_silence().await;
        let streams = client.call(|c| c.stats().streams).await;
        let counts = [streams.open, streams.unaccepted, streams.unacknowledged, streams.opened, streams.accepted];
        assert_eq!(counts, [5, 2, 2, 2, 1]);
        drop((first, second, accepted));
        peer.send(data(4, Flags::RST, 0)).await;
        // It was not used, and of the others the peer has never heard.
        peer.expect(update(2, Flags::RST, 0)).await;
        peer.expect_silence().await;
        let streams = client.call(|c| c.stats().streams).await;
        let counts = [streams.open, streams.unaccepted, streams.unacknowledged, streams.opened, streams.accepted];
        assert_eq!(counts, [1, 1, 0, 2, 1]);
    });
}

#[test]
fn frames_that_change_nothing_are_counted() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let (server, mut peer) = (Node::server(near, quiet().build().expect("valid")), Peer::new(far));
        peer.greet().await;
        peer.send(update(1, Flags::SYN, 0)).await;
        let stream = server.accept().await.expect("a stream");
        peer.expect(update(1, Flags::ACK, 0)).await;
        let useless = [data(1, Flags::NONE, 0), update(1, Flags::NONE, 0), data(77, Flags::NONE, 0), pong(1)];
        for header in useless {
            peer.send(header).await;
        }
        // These do something.
        peer.send(update(1, Flags::NONE, 1)).await;
        peer.send_data(1, Flags::FIN, b"end").await;
        peer.expect_quiet().await;
        assert_eq!(server.call(|connection| connection.stats().useless_frames).await, useless.len() as u64);
        drop(stream);
    });
}
