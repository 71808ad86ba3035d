//! How a stream is reset on the wire, by either side (Y-RST).

use crate::support::peer::{data, fin, ping, pong, update};
use crate::support::run;
use crate::support::stage::{Stage, WINDOW, drain, frugal, pattern, reset};
use futures::{AsyncReadExt, AsyncWriteExt, poll};
use sluicegate::wire::Flags;
use sluicegate::{Mode, Side};
use std::pin::pin;

// ---- RST received ---------------------------------------------------------------------------------------------------

#[test]
fn y_rst_1_a_reset_ends_both_halves_with_its_code() {
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
fn y_hdr_6_the_body_of_a_reset_is_discarded() {
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
fn y_rst_2_earlier_bytes_are_read_and_writing_fails_at_once() {
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
fn y_rst_2_a_reset_drops_the_queue_and_wakes_a_writer() {
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
        stage.peer.send(ping(nonce)).await;
        loop {
            let (header, body) = stage.peer.next().await.expect("the connection lives");
            if header == pong(nonce) {
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
fn y_rst_3_a_reset_after_the_fin_leaves_the_read_half() {
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
fn y_rst_5_of_fin_and_rst_together_the_rst_wins() {
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
fn y_data_1_a_reset_for_a_stream_not_open_is_ignored() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.send(update(1, Flags::FIN, 0)).await;
        stream.close().await.expect("closes");
        drop(stream);
        stage.peer.expect(fin(1)).await;
        for id in [1, 2, 3, 99, u32::MAX] {
            stage.peer.send(update(id, Flags::RST, 3)).await;
            stage.peer.send(data(id, Flags::RST, 0)).await;
            stage.peer.send_data(id, Flags::RST | Flags::FIN, b"x").await;
            stage.expect_clean().await;
            // Once more: the tombstone of stream 1 is unchanged.
            stage.peer.send(update(id, Flags::RST, 3)).await;
            stage.expect_clean().await;
        }
        drop(stage.accepted(5).await);
    });
}

// ---- RST sent -------------------------------------------------------------------------------------------------------

// Y-RST-7: one RST, and no answer to what still comes.
#[test]
fn y_rst_4_a_reset_drops_the_queue_and_sends_one_rst() {
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
fn y_rst_4_a_half_closed_stream_is_reset_and_an_ended_one_not() {
    run(async {
        let mut stage = Stage::server();
        let mut ours = stage.accepted(1).await;
        ours.close().await.expect("closes");
        stage.peer.expect(fin(1)).await;
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
        stage.peer.expect(fin(5)).await;
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

#[test]
fn y_rst_4_the_rest_of_a_body_under_way_is_discarded() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.feed(data(1, Flags::FIN, 8)).await;
        stage.peer.send_raw(b"half").await;
        let mut begun = [0; 4];
        stream.read_exact(&mut begun).await.expect("delivered");
        let reading = stream.read(&mut begun);
        assert!(poll!(pin!(reading)).is_pending());
        stream.reset(3);
        stage.peer.expect(update(1, Flags::RST, 3)).await;
        stage.peer.send_raw(b"rest").await;
        stage.expect_clean().await;
        assert_eq!(reset(&stream.read(&mut begun).await.expect_err("reset")), (Side::Local, 3));
    });
}
