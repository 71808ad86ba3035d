//! What dropping a stream means, as the application and the other end see it (Y-DROP), and resets from elsewhere (Y-RST-8).

use crate::support::clock::{paused, run_paused};
use crate::support::peer::{data, fin, update};
use crate::support::stage::{Stage, WINDOW, drain, frugal, pattern, reset};
use crate::support::{pipe, quiet, run, run_threaded, tcp};
use futures::future::join_all;
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt, poll};
use sluicegate::wire::{Flags, Header};
use sluicegate::{ConfigBuilder, Mode, Session, Side, Stream};
use std::io::{self, IoSlice};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

/// What leaves behind what the peer is sent first, when a stream is dropped of which this is done.
fn leaves(settings: ConfigBuilder, what: &str, code: Option<u32>, act: impl AsyncFnOnce(&mut Stage, Stream)) {
    println!("{what}");
    run(async {
        let mut stage = Stage::with(Mode::Server, 1 << 20, settings);
        let stream = stage.accepted(1).await;
        act(&mut stage, stream).await;
        let mut last = stage.peer.next().await.expect("a frame").0;
        while matches!(last, Header::Data { flags: Flags::NONE, .. }) {
            last = stage.peer.next().await.expect("a frame").0;
        }
        assert_eq!(last, code.map_or(fin(1), |code| update(1, Flags::RST, code)), "{what}");
        stage.peer.expect_silence().await;
        assert_eq!(stage.node.num_streams().await, 0, "{what}");
    });
}

/// Whether a write waits.
fn write_waits(stream: &mut Stream, bytes: &[u8]) -> bool {
    stream.write(bytes).now_or_never().is_none()
}

// ---- Y-DROP-6 ----------------------------------------------------------------------------------------------------------

#[test]
fn y_drop_6_a_message_that_was_cut_short_does_not_look_whole() {
    // So much fits the window, and then a write waits.
    let full = || quiet().max_send_buffer(1 << 20);
    leaves(full(), "pending", Some(0), async |_, mut stream| {
        stream.write_all(&pattern(WINDOW)).await.expect("within the window");
        assert!(write_waits(&mut stream, b"more"));
    });
    leaves(full(), "short", Some(0), async |_, mut stream| {
        let written = stream.write(&pattern(WINDOW + 1)).await.expect("within the window");
        assert!((1..=WINDOW).contains(&written));
    });
    leaves(full(), "a piece of several", Some(0), async |_, mut stream| {
        let pieces = [IoSlice::new(b"one"), IoSlice::new(b"two")];
        assert_eq!(stream.write_vectored(&pieces).await.expect("within the window"), 3);
    });
    leaves(full(), "the deadline of a write has passed", Some(0), async |_, mut stream| {
        stream.write_all(b"begun").await.expect("within the window");
        stream.set_write_deadline(Some(Instant::now()));
        assert_eq!(stream.write(b"more").await.expect_err("too late").kind(), io::ErrorKind::TimedOut);
    });
    leaves(full(), "cancelled in the middle", Some(0), async |_, mut stream| {
        let writing = async { stream.write_all(&pattern(2 * WINDOW)).await };
        assert!(tokio::time::timeout(Duration::from_millis(20), writing).await.is_err());
    });
}

#[test]
fn y_drop_6_what_was_taken_whole_in_the_end_is_finished() {
    leaves(frugal(), "written", None, async |_, mut stream| stream.write_all(b"all").await.expect("within the window"));
    leaves(frugal(), "several pieces", None, async |_, mut stream| {
        assert_eq!(stream.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"one")]).await.expect("credit"), 3);
        assert_eq!(stream.write(b"").await.expect("nothing"), 0);
    });
    leaves(frugal(), "it waited and went on", None, async |stage, mut stream| {
        stream.write_all(&pattern(WINDOW)).await.expect("within the window");
        assert!(write_waits(&mut stream, b"more"));
        stage.peer.send(update(1, Flags::NONE, 4)).await;
        stream.write_all(b"more").await.expect("there is credit");
    });
    leaves(frugal(), "closed, though a write had waited", None, async |_, mut stream| {
        stream.write_all(&pattern(WINDOW)).await.expect("within the window");
        assert!(write_waits(&mut stream, b"more"));
        let _ = poll!(pin!(stream.close()));
    });
    leaves(frugal(), "read to the end", None, async |stage, mut stream| {
        stage.peer.send_data(1, Flags::FIN, b"request").await;
        assert_eq!(drain(&mut stream).await.0, b"request");
    });
}

#[test]
fn y_drop_6_a_panic_is_a_reset() {
    leaves(frugal(), "a panic", Some(0), async |_, mut stream| {
        stream.write_all(b"half of it").await.expect("within the window");
        let task = async move {
            let _stream = stream;
            panic!("on purpose");
        };
        assert!(AssertUnwindSafe(task).catch_unwind().await.is_err());
    });
    leaves(frugal(), "a panic after the close", None, async |_, mut stream| {
        stream.close().await.expect("closes");
        let task = async move {
            let _stream = stream;
            panic!("on purpose");
        };
        assert!(AssertUnwindSafe(task).catch_unwind().await.is_err());
    });
}

#[test]
fn y_drop_6_who_asks_for_it_resets_what_was_not_closed() {
    let (used, all) = (async |_: &mut Stage, mut stream: Stream| stream.write_all(b"half").await.expect("credit"), 9);
    let set = || frugal().reset_on_drop(Some(all));
    leaves(set(), "the setting", Some(all), used);
    leaves(set(), "the stream before the setting", Some(7), async |_, mut stream| {
        stream.write_all(b"half").await.expect("credit");
        stream.reset_on_drop(7);
    });
    leaves(frugal(), "the stream", Some(7), async |_, mut stream| {
        stream.reset_on_drop(7);
        stream.write_all(b"half").await.expect("credit");
    });
    leaves(set(), "not what was closed", None, async |_, mut stream| {
        stream.write_all(b"whole").await.expect("credit");
        stream.close().await.expect("closes");
    });
    // Nor what the peer has never heard of.
    run(async {
        let mut stage = Stage::with(Mode::Client, 1 << 20, set());
        drop(stage.node.open().await.expect("opens"));
        stage.expect_clean().await;
    });
}

// ---- Y-DROP-7, Y-DROP-8 ------------------------------------------------------------------------------------------------

#[test]
fn y_drop_7_a_stream_that_nobody_used_is_reset() {
    leaves(frugal(), "accepted", Some(0), async |_, _| {});
    leaves(frugal(), "a request waits in it", Some(0), async |stage, _stream| {
        stage.peer.send_data(1, Flags::FIN, b"request").await;
        stage.peer.expect_silence().await;
    });
    leaves(frugal(), "nothing came when it was read", Some(0), async |_, mut stream| {
        assert!(stream.read(&mut [0; 8]).now_or_never().is_none());
        assert!(stream.flush().now_or_never().is_some());
    });
    leaves(frugal(), "looked at and not taken", Some(0), async |stage, mut stream| {
        stage.peer.send_data(1, Flags::NONE, b"request").await;
        assert_eq!(stream.fill_buf().await.expect("it came"), b"request");
    });
    run(async {
        let mut stage = Stage::client();
        drop(stage.opened().await);
        stage.peer.expect(update(1, Flags::RST, 0)).await;
        stage.expect_clean().await;
    });
}

#[test]
fn y_drop_8_what_was_not_read_is_told() {
    leaves(frugal(), "buffered", Some(0), async |stage, mut stream| {
        stage.peer.send_data(1, Flags::NONE, b"request").await;
        stage.peer.expect_silence().await;
        stream.write_all(b"go away").await.expect("credit");
    });
    leaves(frugal(), "in the handle", Some(0), async |stage, mut stream| {
        stage.peer.send_data(1, Flags::FIN, &pattern(10_000)).await;
        stream.read_exact(&mut [0; 100]).await.expect("it came");
    });
    leaves(frugal(), "under way", Some(0), async |stage, mut stream| {
        stage.peer.feed(data(1, Flags::NONE, 10)).await;
        stage.peer.send_raw(b"half ").await;
        stream.read_exact(&mut [0; 5]).await.expect("it came");
        drop(stream);
        stage.peer.send_raw(b"a wor").await;
    });
    leaves(frugal(), "all was read, and not all reported", None, async |stage, mut stream| {
        stage.peer.send_data(1, Flags::NONE, &pattern(10_000)).await;
        stream.read_exact(&mut vec![0; 10_000]).await.expect("it came");
    });
    leaves(frugal(), "read no more", None, async |stage, mut stream| {
        stage.peer.send_data(1, Flags::NONE, b"request").await;
        stream.write_all(b"answer").await.expect("credit");
        stream.close_read();
    });
}

// ---- an answer that is late --------------------------------------------------------------------------------------------

const PROPOSAL: &[u8] = b"\x13/multistream/1.0.0\n\x06/note\n";

/// The dialler sends its proposal and a message at once, closes and drops; the listener's answer comes behind that.
#[test]
fn y_drop_2_lazy_negotiation_loses_no_message() {
    const MESSAGES: usize = 1_000;
    run_threaded(async {
        let (near, far) = tcp().await;
        let config = || quiet().build().expect("valid");
        let (client, driver) = Session::new(near, config(), Mode::Client);
        tokio::spawn(driver);
        let (server, driver) = Session::new(far, config(), Mode::Server);
        tokio::spawn(driver);
        let listener = tokio::spawn(async move {
            let accepts = (0..MESSAGES).map(|_| async {
                let mut stream = server.accept().await?;
                let mut proposal = vec![0; PROPOSAL.len()];
                stream.read_exact(&mut proposal).await?;
                stream.write_all(&proposal).await?;
                stream.flush().await?;
                let mut message = Vec::new();
                stream.read_to_end(&mut message).await?;
                stream.close().await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(message == b"a message")
            });
            join_all(accepts).await.into_iter().filter(|arrived| matches!(arrived, Ok(true))).count()
        });
        for _ in 0..MESSAGES {
            let mut stream = client.open().await.expect("opens");
            stream.write_all(&[PROPOSAL, b"a message"].concat()).await.expect("credit");
            stream.close().await.expect("closes");
        }
        assert_eq!(listener.await.expect("no panic"), MESSAGES);
    });
}

// ---- Y-RST-8 -----------------------------------------------------------------------------------------------------------

#[test]
fn y_rst_8_a_split_stream_is_reset_and_both_halves_are_woken() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 1 << 20, frugal());
        let mut stream = stage.accepted(1).await;
        let resetter = stream.resetter();
        let (mut reader, mut writer) = stream.split();
        let reading = tokio::spawn(async move { (reader.read(&mut [0; 8]).await.expect_err("reset"), reader) });
        let writing =
            tokio::spawn(async move { (writer.write_all(&pattern(2 * WINDOW)).await.expect_err("reset"), writer) });
        let mut received = 0;
        while received < WINDOW {
            received += stage.peer.next().await.expect("data").1.len();
        }
        resetter.clone().reset(7);
        stage.peer.expect(update(1, Flags::RST, 7)).await;
        let ((read, reader), (written, writer)) = (reading.await.expect("woken"), writing.await.expect("woken"));
        assert_eq!([reset(&read), reset(&written)], [(Side::Local, 7); 2]);
        drop((reader, writer));
        stage.expect_clean().await;
        // There is nothing left that it could do.
        resetter.reset(8);
        stage.expect_clean().await;
        stage.node.close().now_or_never();
        drop(stage.peer);
        resetter.reset(9);
    });
}

#[test]
fn y_rst_8_bytes_that_were_taken_are_not_read_any_more() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        let resetter = stream.resetter();
        stage.peer.send_data(1, Flags::NONE, &pattern(200_000)).await;
        stream.read_exact(&mut [0; 100]).await.expect("it came");
        resetter.reset(7);
        stage.peer.expect(update(1, Flags::RST, 7)).await;
        let taken = stage.reserved().await;
        assert!((1..128 << 10).contains(&taken), "{taken} bytes are in the handle");
        for _ in 0..2 {
            assert_eq!(reset(&stream.read(&mut [0; 8]).await.expect_err("reset")), (Side::Local, 7));
            let filled = Pin::new(&mut stream).fill_buf().await.map(<[u8]>::len);
            assert_eq!(reset(&filled.expect_err("reset")), (Side::Local, 7));
        }
        stage.expect_clean().await;
    });
}

#[test]
fn y_rst_8_what_a_dropped_stream_has_written_goes_out_all_the_same() {
    run(async {
        // Nothing leaves before the peer reads.
        let mut stage = Stage::with(Mode::Server, 64, frugal());
        let mut stream = stage.accepted(1).await;
        let resetter = stream.resetter();
        stream.write_all(&pattern(10_000)).await.expect("room");
        drop(stream);
        resetter.reset(7);
        let mut received = Vec::new();
        while received.len() < 10_000 {
            received.extend(stage.peer.next().await.expect("data").1);
        }
        assert!(received == pattern(10_000));
        stage.peer.expect(fin(1)).await;
        stage.expect_clean().await;
    });
}

// ---- Y-ACK-4 -----------------------------------------------------------------------------------------------------------

/// Whoever opens faster than the peer accepts waits for it, though nothing is left of its streams here.
#[test]
fn y_ack_4_streams_that_were_closed_and_dropped_all_arrive_at_a_slow_acceptor() {
    const STREAMS: usize = 3_000;
    for backlog in [8, 256] {
        run_paused(async {
            let (near, far) = pipe(1 << 16);
            let settings = || paused(quiet()).accept_backlog(backlog).build().expect("valid");
            let (client, driver) = Session::new(near, settings(), Mode::Client);
            tokio::spawn(driver);
            let (server, driver) = Session::new(far, settings(), Mode::Server);
            tokio::spawn(driver);
            let message = pattern(100);
            let firing = async {
                for _ in 0..STREAMS {
                    let mut stream = client.open().await.expect("opens");
                    stream.write_all(&message).await.expect("writes");
                    stream.close().await.expect("closes");
                }
            };
            let accepting = async {
                for n in 0..STREAMS {
                    let mut stream = server.accept().await.expect("the next one");
                    let (read, error) = drain(&mut stream).await;
                    assert!(read == message && error.is_none(), "stream {n}, backlog {backlog}: {error:?}");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            futures::join!(firing, accepting);
        });
    }
}
