//! What some implementation of yamux emits, and every other has to live with.

use crate::support::peer::{data, fin, go_away, ping, pong, update};
use crate::support::run;
use crate::support::stage::{Stage, WINDOW, drain, frugal, pattern, reset};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::{Flags, Header};
use sluicegate::{Mode, Side};

const NONE: Flags = Flags::NONE;

/// A stream that came with a body and is answered in good order.
async fn serve(stage: &mut Stage, id: u32, body: &[u8]) {
    let mut stream = stage.node.accept().await.expect("opened");
    assert_eq!(stream.id(), id);
    stage.peer.expect(update(id, Flags::ACK, 0)).await;
    let (bytes, error) = drain(&mut stream).await;
    assert!(bytes == body && error.is_none());
    stream.write_all(b"answer").await.expect("writes");
    stream.close().await.expect("closes");
    stage.peer.expect_data(id, b"answer").await;
    stage.peer.expect(fin(id)).await;
}

#[test]
fn a_ping_first_then_streams_opened_in_every_way_and_order() {
    run(async {
        let mut stage = Stage::server();
        stage.peer.send(ping(0)).await;
        stage.peer.expect(pong(0)).await;
        // Ids come in any order and with gaps, with the body or before it, with credit or without.
        stage.peer.send_data(9, Flags::SYN, b"one ").await;
        stage.peer.send_data(9, Flags::FIN, b"two").await;
        serve(&mut stage, 9, b"one two").await;
        stage.peer.send(update(3, Flags::SYN, 0)).await;
        stage.peer.send_data(3, Flags::FIN, b"lower").await;
        serve(&mut stage, 3, b"lower").await;
        stage.peer.send_data(u32::MAX, Flags::SYN | Flags::FIN, b"in one frame").await;
        serve(&mut stage, u32::MAX, b"in one frame").await;
        stage.peer.send(update(1, Flags::SYN | Flags::ACK, 1 << 24)).await;
        stage.peer.send(data(1, Flags::FIN, 0)).await;
        serve(&mut stage, 1, b"").await;
        stage.expect_clean().await;
    });
}

#[test]
fn acks_never_late_twice_or_with_a_reset() {
    run(async {
        let mut stage = Stage::client();
        let mut never = stage.opened().await;
        stage.peer.send_data(1, Flags::FIN, b"no ACK before").await;
        let (bytes, error) = drain(&mut never).await;
        assert!(bytes == b"no ACK before" && error.is_none());
        stage.peer.send(update(1, Flags::ACK, 0)).await;
        stage.peer.send(update(1, Flags::ACK, 0)).await;
        let mut refused = stage.opened().await;
        stage.peer.send(update(3, Flags::ACK | Flags::RST, 5)).await;
        let (bytes, error) = drain(&mut refused).await;
        assert!(bytes.is_empty());
        assert_eq!(reset(&error.expect("reset")), (Side::Remote, 5));
        never.close().await.expect("closes");
        stage.peer.expect(fin(1)).await;
        stage.expect_clean().await;
    });
}

#[test]
fn frames_for_streams_that_never_were_or_have_ended() {
    run(async {
        let mut stage = Stage::server();
        for id in [1, 2, 77, u32::MAX] {
            for flags in [NONE, Flags::ACK, Flags::FIN, Flags::RST, Flags::ACK | Flags::FIN | Flags::RST] {
                stage.peer.send(update(id, flags, 300_000)).await;
                stage.peer.send(data(id, flags, 0)).await;
                stage.peer.send_data(id, flags, b"body").await;
            }
        }
        stage.expect_clean().await;
        // Credit and resets after both FINs, and credit beyond 32 bits in sum: nobody is left to have it.
        let mut stream = stage.accepted(5).await;
        stage.peer.send(update(5, Flags::FIN, 0)).await;
        stream.close().await.expect("closes");
        stage.peer.expect(fin(5)).await;
        for value in [0, 1, u32::MAX, u32::MAX] {
            stage.peer.send(update(5, NONE, value)).await;
        }
        stage.peer.send(update(5, Flags::RST, 7)).await;
        stage.expect_clean().await;
        // A whole window that was under way when the stream was reset here.
        let mut reset_here = stage.accepted(7).await;
        reset_here.reset(1);
        stage.peer.expect(update(7, Flags::RST, 1)).await;
        for part in pattern(WINDOW).chunks(50_000) {
            stage.peer.send_data(7, NONE, part).await;
        }
        stage.peer.send(update(7, Flags::FIN, 0)).await;
        stage.expect_clean().await;
    });
}

#[test]
fn empty_frames_frames_as_large_as_the_window_and_old_flags() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 4 << 20, frugal().initial_stream_window(1 << 20));
        stage.peer.send(update(1, Flags::SYN, 0)).await;
        let mut stream = stage.node.accept().await.expect("opened");
        stage.peer.expect(update(1, Flags::ACK, (1 << 20) - WINDOW as u32)).await;
        stage.peer.send(data(1, NONE, 0)).await;
        let bytes = pattern(1 << 20);
        stage.peer.send_data(1, NONE, &bytes).await;
        let mut read = vec![0; bytes.len()];
        stream.read_exact(&mut read).await.expect("reads");
        assert!(read == bytes);
        loop {
            // The window comes back, in one piece or more.
            let (header, _) = stage.peer.next().await.expect("credit");
            let Header::WindowUpdate { flags: NONE, value, .. } = header else { panic!("{header:?}") };
            if value >= 1 << 19 {
                break;
            }
        }
        // WindowUpdate+FIN and, on another stream, WindowUpdate+SYN, with every undefined bit set.
        stage.peer.send_raw(&[0, 1, 0xFF, 0xF4, 0, 0, 0, 1, 0, 0, 0, 0]).await;
        let (rest, error) = drain(&mut stream).await;
        assert!(rest.is_empty() && error.is_none());
        stage.peer.send_raw(&[0, 1, 0xFF, 0xF1, 0, 0, 0, 3, 0, 0, 0, 0]).await;
        assert_eq!(stage.node.accept().await.expect("opened").id(), 3);
    });
}

#[test]
fn y_away_1_streams_go_on_after_go_away_0() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 1 << 20, frugal().max_stream_window(WINDOW as u32));
        let mut stream = stage.accepted(1).await;
        stage.peer.send(go_away(0)).await;
        for round in 0..4 {
            stage.peer.send_data(1, NONE, &pattern(WINDOW / 2)).await;
            let mut read = vec![0; WINDOW / 2];
            stream.read_exact(&mut read).await.expect("reads");
            assert!(read == pattern(WINDOW / 2), "round {round}");
            stage.peer.expect(update(1, NONE, (WINDOW / 2) as u32)).await;
        }
    });
}
