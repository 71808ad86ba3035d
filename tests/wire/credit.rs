//! How much is sent, when credit comes back, and how windows grow.

use crate::support::node::Node;
use crate::support::outcome::{WINDOW, fill, read_exactly, roomy};
use crate::support::peer::{Peer, accepted, pong, scripted, update};
use crate::support::{Pipe, pipe, run};
use futures::future::{join, join_all};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::memory::Refused;
use sluicegate::wire::{Flags, Header, PingKind};
use sluicegate::{ConfigBuilder, MemoryLimit, MemoryManager, Mode, Priority};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HALF: u32 = WINDOW / 2;

/// Settings under which a window keeps its size.
fn fixed() -> ConfigBuilder {
    roomy().max_stream_window(WINDOW)
}

/// The next frame, which must be credit for stream 1.
async fn credit(peer: &mut Peer<Pipe>) -> u32 {
    match peer.next_header().await {
        Header::WindowUpdate { id, flags: Flags::NONE, value } if id.value() == 1 => value,
        other => panic!("{other:?} is no credit"),
    }
}

#[test]
fn y_send_1_frames_are_as_large_as_the_setting_and_no_larger() {
    for (config, max) in [
        (roomy(), 16 * 1024),
        (roomy().max_message_size(1024), 1024),
        (roomy().max_message_size(5_000), 5_000),
        (roomy().max_message_size(64 * 1024), 64 * 1024),
    ] {
        run(async {
            let (node, mut peer) = scripted(Mode::Server, 1024, config).await;
            let mut stream = accepted(&node, &mut peer, 1, 0).await;
            let sent: Vec<u8> = (0..WINDOW).map(|i| (i % 251) as u8).collect();
            let writing = stream.write_all(&sent);
            let (mut received, mut largest) = (Vec::new(), 0);
            let receiving = async {
                while received.len() < sent.len() {
                    let (header, body) = peer.next().await.expect("data");
                    assert!(matches!(header, Header::Data { flags: Flags::NONE, len: 1.., .. }), "{header:?}");
                    assert!(body.len() <= max, "a frame of {} bytes", body.len());
                    largest = largest.max(body.len());
                    received.extend_from_slice(&body);
                }
            };
            join(writing, receiving).await.0.expect("credit");
            assert!(received == sent);
            assert_eq!(largest, max);
        });
    }
}

#[test]
fn y_flow_2_a_frame_as_large_as_the_window_is_taken() {
    run(async {
        let large = 8 << 20;
        let config = roomy().initial_stream_window(large).max_stream_window(large);
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, config).await;
        let mut stream = accepted(&node, &mut peer, 1, large - WINDOW).await;
        let sent: Vec<u8> = (0..large).map(|i| (i % 251) as u8).collect();
        peer.send_data(1, Flags::NONE, &sent).await;
        assert!(read_exactly(&mut stream, large as usize).await == sent);
    });
}

#[test]
fn y_flow_4_credit_returns_at_half_the_window_and_not_before() {
    for initial in [WINDOW, 300_001] {
        run(async {
            let config = roomy().initial_stream_window(initial).max_stream_window(initial);
            let (node, mut peer) = scripted(Mode::Server, 64 * 1024, config).await;
            let mut stream = accepted(&node, &mut peer, 1, initial - WINDOW).await;
            let half = initial / 2;
            peer.send_data(1, Flags::NONE, &vec![7; initial as usize]).await;
            // What was received and not read gives none.
            peer.expect_quiet().await;
            for _ in 0..4 {
                assert_eq!(read_exactly(&mut stream, half as usize - 1).await.len(), half as usize - 1);
                peer.expect_quiet().await;
                assert_eq!(read_exactly(&mut stream, 1).await.len(), 1);
                assert_eq!(credit(&mut peer).await, half);
                peer.expect_quiet().await;
                peer.send_data(1, Flags::NONE, &vec![7; half as usize]).await;
            }
        });
    }
}

#[test]
fn y_flow_4_credit_is_the_sum_of_what_was_read() {
    run(async {
        let (node, mut peer) = scripted(Mode::Server, 4096, fixed()).await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        let total = 12 * WINDOW as usize;
        let reading = async {
            let (mut buf, mut size, mut read) = (vec![0; 30_000], 1, 0);
            while read < total {
                size = (size * 7 + 3) % 29_989;
                let want = (size + 1).min(total - read);
                read += stream.read(&mut buf[..want]).await.expect("data");
            }
        };
        let sending = async {
            let (mut sent, mut left, mut granted) = (0, WINDOW as usize, 0);
            while sent < total {
                if left == 0 {
                    let value = credit(&mut peer).await;
                    assert!((HALF..=WINDOW).contains(&value), "{value}");
                    granted += value as usize;
                    left += value as usize;
                }
                let len = left.min(10_007).min(total - sent);
                peer.send_data(1, Flags::NONE, &vec![7; len]).await;
                (sent, left) = (sent + len, left - len);
                assert!(granted <= sent);
            }
            (granted, left)
        };
        let ((), (mut granted, left)) = join(reading, sending).await;
        // All was read: the rest of the credit has come, but for less than half a window.
        let mut peer_may = left;
        while total - granted >= HALF as usize {
            let value = credit(&mut peer).await as usize;
            (granted, peer_may) = (granted + value, peer_may + value);
        }
        peer.expect_quiet().await;
        assert_eq!(peer_may + total - granted, WINDOW as usize);
    });
}

#[test]
fn y_flow_5_credit_that_cannot_leave_is_kept_and_leaves_as_one() {
    run(async {
        let (node, mut peer) = scripted(Mode::Server, 256, fixed()).await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        let mut busy = accepted(&node, &mut peer, 3, 0).await;
        assert_eq!(fill(&mut busy), WINDOW as usize);
        assert_eq!(node.num_streams().await, 2);
        // The transport is full one way. All that becomes due meanwhile is one sum.
        peer.send_data(1, Flags::NONE, &vec![7; WINDOW as usize]).await;
        assert_eq!(read_exactly(&mut stream, HALF as usize).await.len(), HALF as usize);
        assert_eq!(node.num_streams().await, 2);
        assert_eq!(read_exactly(&mut stream, HALF as usize).await.len(), HALF as usize);
        assert!(stream.read(&mut [0; 1]).now_or_never().is_none());
        let (mut received, mut credits) = (0, Vec::new());
        while received < WINDOW as usize {
            let (header, body) = peer.next().await.expect("a frame");
            received += body.len();
            if matches!(header, Header::WindowUpdate { .. }) {
                credits.push(header);
            }
        }
        assert_eq!(credits, [update(1, Flags::NONE, WINDOW)]);
        peer.expect_quiet().await;
    });
}

/// Lets the node measure a round trip of at least this long.
async fn greet_slowly(peer: &mut Peer<Pipe>, round_trip: Duration) {
    let Header::Ping { kind: PingKind::Request, nonce } = ({
        peer.answers_pings = false;
        peer.next_header().await
    }) else {
        panic!("no ping comes first")
    };
    tokio::time::sleep(round_trip).await;
    peer.send(pong(nonce)).await;
    peer.answers_pings = true;
    peer.expect_quiet().await;
}

/// Counts what it refuses.
#[derive(Debug)]
struct Counting {
    limit: MemoryLimit,
    refused: AtomicUsize,
}

impl MemoryManager for Counting {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        self.limit.reserve(bytes, priority).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn release(&self, bytes: usize) {
        self.limit.release(bytes);
    }
}

/// Half a window goes to the stream and is read, again and again. `done` sees the window after each round.
async fn rounds(limit: usize, mut done: impl FnMut(&Counting, u32) -> bool) {
    let manager = Arc::new(Counting { limit: MemoryLimit::new(limit), refused: AtomicUsize::new(0) });
    let (near, far) = pipe(64 * 1024);
    let config = roomy().max_stream_window(4 * WINDOW).memory(manager.clone()).build().expect("valid");
    let (node, mut peer) = (Node::server(near, config), Peer::new(far));
    greet_slowly(&mut peer, Duration::from_millis(50)).await;
    let mut stream = accepted(&node, &mut peer, 1, 0).await;
    let mut window = WINDOW;
    while !done(&manager, window) {
        let half = window / 2;
        peer.send_data(1, Flags::NONE, &vec![7; half as usize]).await;
        assert_eq!(read_exactly(&mut stream, half as usize).await.len(), half as usize);
        // What was read and what the window has grown by come as one, and exactly that was reserved.
        window += credit(&mut peer).await - half;
        assert_eq!(manager.limit.reserved(), window as usize);
    }
    peer.expect_quiet().await;
    // All of it is the peer's to use, and not a byte more.
    peer.send_data(1, Flags::NONE, &vec![7; window as usize]).await;
    peer.expect_quiet().await;
    peer.send_data(1, Flags::NONE, &[7]).await;
    peer.expect_end(1).await;
    drop(peer);
    drop(stream);
    node.close().await.expect_err("the peer broke the protocol");
    assert_eq!(manager.limit.reserved(), 0);
}

#[test]
fn y_mem_2_a_window_grows_by_what_was_reserved_for_it() {
    let mut after = 0;
    run(rounds(64 << 20, |manager, window| {
        assert!((WINDOW..=4 * WINDOW).contains(&window), "{window}");
        assert_eq!(manager.refused.load(Ordering::Relaxed), 0);
        // At its maximum it stays there.
        after += usize::from(window == 4 * WINDOW);
        after == 100
    }));
}

#[test]
fn y_mem_2_a_window_that_is_refused_memory_keeps_its_size() {
    // There is memory for the stream alone; more than a window's worth is refused, each time it is asked for.
    run(rounds(WINDOW as usize + 1000, |manager, window| {
        assert_eq!(window, WINDOW);
        manager.refused.load(Ordering::Relaxed) >= 3
    }));
}

#[test]
fn y_send_1_many_writers_never_pass_their_credit() {
    run(async {
        const EACH: usize = 1 << 20;
        let (node, mut peer) = scripted(Mode::Server, 8 * 1024, roomy()).await;
        let mut writers = Vec::new();
        for id in (1..=15).step_by(2) {
            let mut stream = accepted(&node, &mut peer, id, 0).await;
            writers.push(async move {
                let (mut written, mut size) = (0, id as usize);
                while written < EACH {
                    size = (size * 31 + 7) % 40_009;
                    let piece: Vec<u8> = (written..EACH).take(size + 1).map(|i| (i % 251) as u8).collect();
                    stream.write_all(&piece).await.expect("the write half is open");
                    written += piece.len();
                }
                stream.close().await.expect("closes");
                stream
            });
        }
        let receiving = async {
            // How many bytes each stream may still send, and how many it has sent.
            let mut streams: BTreeMap<u32, (usize, usize)> =
                (1..=15).step_by(2).map(|id| (id, (WINDOW as usize, 0))).collect();
            let (mut finished, mut size) = (0, 1);
            while finished < streams.len() {
                let (header, body) = peer.next().await.expect("a frame");
                let (id, len) = match header {
                    Header::Data { id, flags: Flags::NONE, len } => (id.value(), len as usize),
                    Header::Data { flags: Flags::FIN, len: 0, .. } => {
                        finished += 1;
                        continue;
                    }
                    other => panic!("{other:?}"),
                };
                let (left, received) = streams.get_mut(&id).expect("a stream that is open");
                *left = left.checked_sub(len).expect("no more than was granted");
                assert!(body.iter().enumerate().all(|(i, byte)| *byte == ((*received + i) % 251) as u8));
                *received += len;
                if *left == 0 {
                    // A byte, or any other piece of a window.
                    size = (size * 37 + 11) % 50_021;
                    let grant = if size % 5 == 0 { 1 } else { size };
                    *left += grant;
                    peer.send(update(id, Flags::NONE, grant as u32)).await;
                }
            }
            assert!(streams.values().all(|(_, received)| *received == EACH));
        };
        let (streams, ()) = join(join_all(writers), receiving).await;
        assert_eq!(node.num_streams().await, streams.len());
    });
}
