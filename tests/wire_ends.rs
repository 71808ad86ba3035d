//! How a stream ends on the wire: FIN and RST in every order (Y-FIN, Y-RST, Y-DROP).

mod stage;
mod support;

use futures::{AsyncReadExt, AsyncWriteExt, poll};
use sluicegate::wire::{Flags, Header};
use sluicegate::{Mode, Side, StreamError};
use stage::{Stage, WINDOW, drain, frugal, pattern, reset};
use std::io;
use std::pin::pin;
use std::task::Poll;
use support::peer::{data, update};
use support::{quiet, run};

/// The two frames that a FIN may come in.
const FINS: [fn(u32) -> Header; 2] = [|id| update(id, Flags::FIN, 0), |id| data(id, Flags::FIN, 0)];

// ---- FIN ----------------------------------------------------------------------------------------------------------

#[test]
fn w56_after_a_fin_come_the_data_then_the_end_and_writing_goes_on() {
    for fin in FINS {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            stage.peer.send_data(1, Flags::NONE, b"abc").await;
            stage.peer.send(fin(1)).await;
            let (bytes, error) = drain(&mut stream).await;
            assert!(bytes == b"abc" && error.is_none());

            stream.write_all(b"def").await.expect("the other half lives");
            stream.flush().await.expect("flushes");
            stage.peer.expect_data(1, b"def").await;
            assert_eq!(stage.node.num_streams().await, 1);
            stream.close().await.expect("closes");
            stage.peer.expect(update(1, Flags::FIN, 0)).await;
            stage.expect_clean().await;
            assert_eq!(stream.read(&mut [0; 8]).await.expect("the end repeats"), 0);
        });
    }
}

#[test]
fn w57_a_fin_with_a_body_acts_after_the_last_byte_of_it() {
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
fn w58_a_second_fin_is_ignored() {
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
                stage.peer.expect(update(1, Flags::FIN, 0)).await;
                stage.peer.send(second(1)).await;
                stage.expect_clean().await;
            });
        }
    }
}

#[test]
fn w59_a_fin_before_the_ack_counts_as_the_ack() {
    for fin in FINS {
        run(async {
            let mut stage = Stage::with(Mode::Client, 1 << 20, quiet().accept_backlog(1));
            let mut first = stage.opened().await;
            let mut second = pin!(stage.node.open());
            assert!(poll!(&mut second).is_pending());
            assert_eq!(stage.node.num_streams().await, 1);
            assert!(poll!(&mut second).is_pending());
            stage.peer.send(fin(1)).await;
            assert_eq!(second.await.expect("there is a place").id(), 3);
            let (bytes, error) = drain(&mut first).await;
            assert!(bytes.is_empty() && error.is_none());
        });
    }
}

#[test]
fn w67_the_fin_leaves_once_in_a_frame_of_its_own_after_all_data() {
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
        stage.peer.expect(update(1, Flags::FIN, 0)).await;
        drop(stream);
        stage.peer.expect_silence().await;
        stage.peer.send(update(1, Flags::FIN, 0)).await;
        stage.expect_clean().await;
    });
}

#[test]
fn w68_after_both_fins_only_the_unread_bytes_are_left_and_they_are_paid_for() {
    for is_read in [true, false] {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            let bytes = pattern(WINDOW);
            stage.peer.send_data(1, Flags::FIN, &bytes).await;
            stream.close().await.expect("closes");
            stage.peer.expect(update(1, Flags::FIN, 0)).await;
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
            stage.peer.expect(update(1, Flags::FIN, 0)).await;
            stage.expect_clean().await;
        });
    }
}

#[test]
fn n11_after_the_peers_fin_sixteen_windows_go_out() {
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
        stage.peer.expect(update(1, Flags::FIN, 0)).await;
        stage.expect_clean().await;
    });
}

// ---- RST received ---------------------------------------------------------------------------------------------------

#[test]
fn w60_w61_a_reset_ends_both_halves_with_its_code() {
    let codes = [0, 1, 0x1002, u32::MAX];
    let updates = codes.map(|code| (update(1, Flags::RST, code), code));
    // A data frame has no room for a code.
    let frames = updates.into_iter().chain([(data(1, Flags::RST, 0), 0)]);
    for (frame, code) in frames {
        run(async {
            let mut stage = Stage::server();
            let (reader, mut writer) = stage.accepted(1).await.split();
            let reading = tokio::spawn(async move {
                let mut reader = reader;
                let error = reader.read(&mut [0; 8]).await.expect_err("reset");
                assert_eq!(reset(&reader.read(&mut [0; 8]).await.expect_err("it repeats")), reset(&error));
                (error, reader)
            });
            stage.peer.send(frame).await;
            let (error, reader) = reading.await.expect("no panic");
            assert_eq!(reset(&error), (Side::Remote, code));
            assert_eq!(reset(&writer.write(b"x").await.expect_err("reset")), (Side::Remote, code));
            assert_eq!(reset(&writer.flush().await.expect_err("reset")), (Side::Remote, code));
            assert_eq!(reset(&writer.close().await.expect_err("reset")), (Side::Remote, code));
            stage.expect_clean().await;
            drop((reader, writer));
            stage.expect_clean().await;
        });
    }
}

#[test]
fn w61_the_body_of_a_reset_is_discarded() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.send_data(1, Flags::NONE, b"before").await;
        stage.peer.send_data(1, Flags::RST, b"with it").await;
        stage.peer.send_data(1, Flags::NONE, b"after").await;
        let (bytes, error) = drain(&mut stream).await;
        assert_eq!(bytes, b"before");
        assert_eq!(reset(&error.expect("reset")), (Side::Remote, 0));
        stage.expect_clean().await;
    });
}

#[test]
fn w62_bytes_from_before_a_reset_are_read_first_and_writing_fails_at_once() {
    for is_read in [true, false] {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            let bytes = pattern(WINDOW);
            stage.peer.send_data(1, Flags::NONE, &bytes).await;
            stage.peer.send(update(1, Flags::RST, 7)).await;
            // The bytes are still paid for; the stream is over.
            assert_eq!(stage.reserved().await, WINDOW);
            assert_eq!(stage.node.num_streams().await, 0);
            assert_eq!(reset(&stream.write(b"x").await.expect_err("reset")), (Side::Remote, 7));
            if is_read {
                let (read, error) = drain(&mut stream).await;
                assert!(read == bytes);
                assert_eq!(reset(&error.expect("reset")), (Side::Remote, 7));
            } else {
                drop(stream);
            }
            stage.expect_clean().await;
        });
    }
}

#[test]
fn w62_a_reset_drops_what_was_queued_and_wakes_a_blocked_writer() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 4096, frugal());
        let (reader, mut writer) = stage.accepted(1).await.split();
        let writing = tokio::spawn(async move {
            let error = writer.write_all(&pattern(2 * WINDOW)).await.expect_err("reset");
            (reset(&error), writer)
        });
        stage.peer.send(update(1, Flags::RST, 9)).await;
        let (error, writer) = writing.await.expect("no panic");
        assert_eq!(error, (Side::Remote, 9));
        drop((reader, writer));
        // What was cut before the reset came may still arrive, and nothing else.
        let mut received = 0;
        let nonce = 77;
        stage.peer.send(support::peer::ping(nonce)).await;
        loop {
            let (header, body) = stage.peer.next().await.expect("the connection lives");
            if header == support::peer::pong(nonce) {
                break;
            }
            assert_eq!(header, data(1, Flags::NONE, body.len() as u32));
            received += body.len();
        }
        assert!(received <= 64 * 1024 + 16 * 1024, "{received} bytes after the reset");
        stage.expect_clean().await;
    });
}

#[test]
fn w63_a_reset_after_the_fin_leaves_the_read_half_alone() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.send_data(1, Flags::FIN, b"all of it").await;
        stage.peer.send(update(1, Flags::RST, 0x1002)).await;
        stage.peer.expect_silence().await;
        assert_eq!(reset(&stream.write(b"x").await.expect_err("reset")), (Side::Remote, 0x1002));
        let (bytes, error) = drain(&mut stream).await;
        assert!(bytes == b"all of it" && error.is_none());
        stage.expect_clean().await;
    });
}

#[test]
fn w64_when_fin_and_rst_come_together_the_rst_wins() {
    let both = Flags::FIN | Flags::RST;
    for (frame, code) in [(update(1, both, 5), 5), (data(1, both, 0), 0)] {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            stage.peer.send_data(1, Flags::NONE, b"before").await;
            stage.peer.send(frame).await;
            let (bytes, error) = drain(&mut stream).await;
            assert_eq!(bytes, b"before");
            assert_eq!(reset(&error.expect("no end of file")), (Side::Remote, code));
            assert_eq!(reset(&stream.write(b"x").await.expect_err("reset")), (Side::Remote, code));
            stage.expect_clean().await;
        });
    }
}

#[test]
fn w65_a_reset_for_a_stream_that_is_not_open_is_ignored() {
    run(async {
        let mut stage = Stage::server();
        let stream = stage.accepted(1).await;
        stage.peer.send(update(1, Flags::FIN, 0)).await;
        drop(stream);
        stage.peer.expect(update(1, Flags::FIN, 0)).await;
        for id in [1, 2, 3, 99, u32::MAX] {
            stage.peer.send(update(id, Flags::RST, 3)).await;
            stage.peer.send(data(id, Flags::RST, 0)).await;
            stage.peer.send_data(id, Flags::RST | Flags::FIN, b"x").await;
            stage.expect_clean().await;
            // Once more: the grave of stream 1 has not been disturbed.
            stage.peer.send(update(id, Flags::RST, 3)).await;
            stage.expect_clean().await;
        }
        drop(stage.accepted(5).await);
    });
}

// ---- RST sent -------------------------------------------------------------------------------------------------------

#[test]
fn w66_a_reset_drops_what_is_queued_and_sends_one_rst_with_its_code() {
    for code in [0, 42, 0x1002] {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            stage.peer.send_data(1, Flags::NONE, b"unread").await;
            stage.peer.expect_silence().await;
            let written = stream.write(&pattern(1000)).await.expect("within the window");
            assert_eq!(written, 1000);
            stream.reset(code);
            stream.reset(code + 1);
            stage.peer.expect(update(1, Flags::RST, code)).await;
            assert_eq!(reset(&stream.read(&mut [0; 8]).await.expect_err("reset")), (Side::Local, code));
            assert_eq!(reset(&stream.write(b"x").await.expect_err("reset")), (Side::Local, code));
            assert_eq!(reset(&stream.close().await.expect_err("reset")), (Side::Local, code));
            stage.expect_clean().await;
            // What the peer sent before it knew is discarded and not answered.
            stage.peer.send_data(1, Flags::NONE, b"late").await;
            stage.peer.send(update(1, Flags::NONE, 1)).await;
            stage.peer.send_data(1, Flags::FIN, b"later").await;
            stage.peer.send(update(1, Flags::RST, 0)).await;
            stage.expect_clean().await;
            drop(stream);
            stage.expect_clean().await;
        });
    }
}

#[test]
fn w66_a_reset_is_sent_for_a_half_closed_stream_and_not_for_one_that_has_ended() {
    run(async {
        let mut stage = Stage::server();
        let mut ours = stage.accepted(1).await;
        ours.close().await.expect("closes");
        stage.peer.expect(update(1, Flags::FIN, 0)).await;
        ours.reset(8);
        stage.peer.expect(update(1, Flags::RST, 8)).await;

        let mut theirs = stage.accepted(3).await;
        stage.peer.send(update(3, Flags::FIN, 0)).await;
        assert_eq!(theirs.read(&mut [0; 8]).await.expect("the end"), 0);
        theirs.reset(9);
        stage.peer.expect(update(3, Flags::RST, 9)).await;

        let mut ended = stage.accepted(5).await;
        stage.peer.send(update(5, Flags::FIN, 0)).await;
        ended.close().await.expect("closes");
        stage.peer.expect(update(5, Flags::FIN, 0)).await;
        ended.reset(10);
        stage.expect_clean().await;
        assert_eq!(ended.read(&mut [0; 8]).await.expect("it had ended in good order"), 0);

        let mut gone = stage.accepted(7).await;
        stage.peer.send(update(7, Flags::RST, 11)).await;
        assert_eq!(reset(&gone.read(&mut [0; 8]).await.expect_err("reset")), (Side::Remote, 11));
        gone.reset(12);
        stage.expect_clean().await;
        assert_eq!(reset(&gone.read(&mut [0; 8]).await.expect_err("reset")), (Side::Remote, 11));
    });
}

// ---- a dropped stream ------------------------------------------------------------------------------------------------

#[test]
fn n15_a_peer_that_writes_to_a_dropped_stream_gets_one_reset_after_our_data_and_fin() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stream.write_all(b"last").await.expect("within the window");
        drop(stream);
        stage.peer.expect_data(1, b"last").await;
        stage.peer.expect(update(1, Flags::FIN, 0)).await;
        stage.expect_clean().await;
        stage.peer.send_data(1, Flags::NONE, b"anyone?").await;
        stage.peer.expect(update(1, Flags::RST, 0)).await;
        stage.peer.send_data(1, Flags::NONE, b"still").await;
        stage.peer.send_data(1, Flags::FIN, b"end").await;
        stage.expect_clean().await;
    });
}

#[test]
fn n15_a_peer_whose_window_was_full_when_the_stream_was_dropped_does_not_hang() {
    for closed_first in [false, true] {
        run(async {
            let mut stage = Stage::server();
            let mut stream = stage.accepted(1).await;
            stage.peer.send_data(1, Flags::NONE, &pattern(WINDOW)).await;
            stage.peer.expect_silence().await;
            if closed_first {
                stream.close().await.expect("closes");
                stage.peer.expect(update(1, Flags::FIN, 0)).await;
            }
            drop(stream);
            // Credit or a reset: either lets the peer's writer go on to its end.
            stage.peer.expect(update(1, Flags::NONE, WINDOW as u32)).await;
            if !closed_first {
                stage.peer.expect(update(1, Flags::FIN, 0)).await;
            }
            stage.peer.send_data(1, Flags::NONE, b"more").await;
            stage.peer.expect(update(1, Flags::RST, 0)).await;
            stage.expect_clean().await;
        });
    }
}

#[test]
fn w66_a_reset_while_a_body_is_under_way_discards_the_rest() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.feed(data(1, Flags::FIN, 8)).await;
        stage.peer.send_raw(b"half").await;
        let mut begun = [0; 4];
        stream.read_exact(&mut begun).await.expect("delivered");
        let reading = stream.read(&mut begun);
        assert!(matches!(poll!(pin!(reading)), Poll::Pending));
        stream.reset(3);
        stage.peer.expect(update(1, Flags::RST, 3)).await;
        stage.peer.send_raw(b"rest").await;
        stage.expect_clean().await;
        let error = stream.read(&mut begun).await.expect_err("reset");
        assert!(matches!(
            error.get_ref().and_then(|inner| inner.downcast_ref()),
            Some(StreamError::Reset { by: Side::Local, code: 3 })
        ));
    });
}
