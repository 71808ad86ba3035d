//! How a stream ends on the wire in good order, and what a dropped one leaves behind (Y-FIN, Y-DROP).

use crate::support::clock::{now, paused, run_paused};
use crate::support::peer::{data, fin, update};
use crate::support::stage::{Stage, WINDOW, drain, frugal, pattern};
use crate::support::{quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt, poll};
use sluicegate::Mode;
use sluicegate::wire::{Flags, Header};
use std::io;
use std::pin::pin;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The two frames that a FIN may come in.
const FINS: [fn(u32) -> Header; 2] = [|id| update(id, Flags::FIN, 0), |id| data(id, Flags::FIN, 0)];

// ---- FIN ----------------------------------------------------------------------------------------------------------

#[test]
fn y_fin_1_data_then_the_end_and_writing_goes_on() {
    for their_fin in FINS {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            stage.peer.send_data(1, Flags::NONE, b"abc").await;
            stage.peer.send(their_fin(1)).await;
            let (bytes, error) = drain(&mut stream).await;
            assert!(bytes == b"abc" && error.is_none());

            stream.write_all(b"def").await.expect("the other half lives");
            stream.flush().await.expect("flushes");
            stage.peer.expect_data(1, b"def").await;
            assert_eq!(stage.node.num_streams().await, 1);
            stream.close().await.expect("closes");
            stage.peer.expect(fin(1)).await;
            stage.expect_clean().await;
            assert_eq!(stream.read(&mut [0; 8]).await.expect("the end repeats"), 0);
        });
    }
}

#[test]
fn y_hdr_6_a_fin_with_a_body_acts_after_its_last_byte() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.feed(data(1, Flags::FIN, 6)).await;
        stage.peer.send_raw(b"ab").await;
        let mut begun = [0; 2];
        stream.read_exact(&mut begun).await.expect("delivered before the frame is complete");
        assert_eq!(&begun, b"ab");
        let mut rest = Vec::new();
        let mut reading = pin!(stream.read_to_end(&mut rest));
        assert!(poll!(&mut reading).is_pending());
        stage.peer.send_raw(b"cdef").await;
        assert_eq!(reading.await.expect("ends"), 4);
        assert_eq!(rest, b"cdef");
    });
}

#[test]
fn y_fin_2_a_second_fin_is_ignored() {
    for first in FINS {
        for second in FINS {
            run(async {
                let mut stage = Stage::server();
                let mut stream = stage.accepted(1).await;
                stage.peer.send_data(1, Flags::NONE, b"abc").await;
                stage.peer.send(first(1)).await;
                stage.peer.send(second(1)).await;
                stage.peer.expect_silence().await;
                let (bytes, error) = drain(&mut stream).await;
                assert!(bytes == b"abc" && error.is_none());
                stream.write_all(b"def").await.expect("the other half lives");
                stream.close().await.expect("closes");
                stage.peer.expect_data(1, b"def").await;
                stage.peer.expect(fin(1)).await;
                stage.peer.send(second(1)).await;
                stage.expect_clean().await;
            });
        }
    }
}

#[test]
fn y_ack_3_a_fin_before_the_ack_counts_as_the_ack() {
    for their_fin in FINS {
        run(async {
            let mut stage = Stage::with(Mode::Client, 1 << 20, quiet().accept_backlog(1));
            let mut first = stage.opened().await;
            let mut second = pin!(stage.node.open());
            assert!(poll!(&mut second).is_pending());
            assert_eq!(stage.node.num_streams().await, 1);
            assert!(poll!(&mut second).is_pending());
            stage.peer.send(their_fin(1)).await;
            assert_eq!(second.await.expect("there is a place").id(), 3);
            let (bytes, error) = drain(&mut first).await;
            assert!(bytes.is_empty() && error.is_none());
        });
    }
}

#[test]
fn y_fin_4_the_fin_leaves_once_in_its_own_frame_after_data() {
    run(async {
        let mut stage = Stage::with(Mode::Client, 1 << 20, quiet().max_message_size(4096));
        let mut stream = stage.node.open().await.expect("opens");
        let bytes = pattern(10_000);
        stream.write_all(&bytes).await.expect("within the window");
        for _ in 0..3 {
            stream.close().await.expect("closing again is fine");
        }
        let error = stream.write(b"more").await.expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        stage.peer.expect(update(1, Flags::SYN, 0)).await;
        for frame in bytes.chunks(4096) {
            stage.peer.expect_data(1, frame).await;
        }
        stage.peer.expect(fin(1)).await;
        drop(stream);
        stage.peer.expect_silence().await;
        stage.peer.send(update(1, Flags::FIN, 0)).await;
        stage.expect_clean().await;
    });
}

#[test]
fn y_fin_5_after_both_fins_only_unread_bytes_stay_reserved() {
    for is_read in [true, false] {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            let bytes = pattern(WINDOW);
            stage.peer.send_data(1, Flags::FIN, &bytes).await;
            stream.close().await.expect("closes");
            stage.peer.expect(fin(1)).await;
            assert_eq!(stage.reserved().await, WINDOW);
            assert_eq!(stage.node.num_streams().await, 0);
            // The id is free: an old stream that is still being read is not in the way of a new one.
            stage.peer.send(update(1, Flags::SYN, 0)).await;
            let again = stage.node.accept().await.expect("a new stream");
            stage.peer.expect(update(1, Flags::ACK, 0)).await;
            assert_eq!(stage.reserved().await, 2 * WINDOW);
            if is_read {
                let (read, error) = drain(&mut stream).await;
                assert!(read == bytes && error.is_none());
            } else {
                drop(stream);
            }
            assert_eq!(stage.reserved().await, WINDOW);
            drop(again);
            stage.peer.expect(update(1, Flags::RST, 0)).await;
            stage.expect_clean().await;
        });
    }
}

#[test]
fn y_flow_6_no_credit_is_returned_after_the_peers_fin() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.send_data(1, Flags::FIN, &pattern(WINDOW)).await;
        let (bytes, error) = drain(&mut stream).await;
        assert!(bytes == pattern(WINDOW) && error.is_none());
        stage.peer.expect_quiet().await;
        stream.write_all(b"on").await.expect("the other half lives");
        stream.flush().await.expect("flushes");
        stage.peer.expect_data(1, b"on").await;
    });
}

#[test]
fn y_fin_1_after_the_peers_fin_sixteen_windows_go_out() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.send(update(1, Flags::FIN, 0)).await;
        let bytes = pattern(16 * WINDOW);
        let sent = bytes.clone();
        let writing = tokio::spawn(async move {
            stream.write_all(&sent).await?;
            stream.close().await
        });
        let (mut received, mut credited) = (Vec::new(), 0);
        while received.len() < bytes.len() {
            let (header, body) = stage.peer.next().await.expect("the node goes on");
            assert_eq!(header, data(1, Flags::NONE, body.len() as u32));
            received.extend_from_slice(&body);
            assert!(received.len() <= WINDOW + credited, "sent beyond its credit");
            if received.len() - credited >= WINDOW / 2 {
                stage.peer.send(update(1, Flags::NONE, (received.len() - credited) as u32)).await;
                credited = received.len();
            }
        }
        assert!(received == bytes);
        writing.await.expect("no panic").expect("everything went out");
        stage.peer.expect(fin(1)).await;
        stage.expect_clean().await;
    });
}

// ---- a dropped stream ------------------------------------------------------------------------------------------------

#[test]
fn y_drop_2_data_for_a_dropped_stream_is_not_answered() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stream.write_all(b"last").await.expect("within the window");
        drop(stream);
        stage.peer.expect_data(1, b"last").await;
        stage.peer.expect(fin(1)).await;
        stage.expect_clean().await;
        stage.peer.send_data(1, Flags::NONE, b"anyone?").await;
        stage.expect_clean().await;
        stage.peer.send_data(1, Flags::NONE, b"still").await;
        stage.peer.send_data(1, Flags::FIN, b"end").await;
        stage.expect_clean().await;
    });
}

#[test]
fn y_drop_3_a_peer_with_a_full_window_does_not_hang() {
    for closed_first in [false, true] {
        run_paused(async {
            let mut stage = Stage::with(Mode::Server, 1 << 20, paused(frugal()));
            let mut stream = stage.accepted(1).await;
            stage.peer.send_data(1, Flags::NONE, &pattern(WINDOW)).await;
            stage.peer.expect_silence().await;
            stream.write_all(b"no more").await.expect("within the window");
            if closed_first {
                stream.close().await.expect("closes");
            }
            let start = now();
            drop(stream);
            stage.peer.expect_data(1, b"no more").await;
            if closed_first {
                // It has time to read that.
                stage.peer.expect(fin(1)).await;
                stage.peer.expect(update(1, Flags::RST, 0)).await;
                let took = now() - start;
                assert!(took >= 3 * SECOND && took <= 3 * SECOND + SECOND / 8, "{took:?}");
            } else {
                stage.peer.expect(update(1, Flags::RST, 0)).await;
                assert!(now() - start < SECOND / 8);
            }
            stage.expect_clean().await;
        });
    }
}
