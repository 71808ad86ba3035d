//! Deadlines of streams: what they end, and what they leave alone.

use crate::support::node::Node;
use crate::support::outcome::stream_error;
use crate::support::pair::{Counter, Gate, WINDOW, default, pair, pattern, settle, stream};
use crate::support::{pipe, quiet, run, run_threaded};
use futures::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use sluicegate::{Stream, StreamError};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(5);
const FAR: Duration = Duration::from_millis(300);

fn soon() -> Option<Instant> {
    Some(Instant::now() + SOON)
}

#[track_caller]
fn expect_exceeded<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("the deadline has passed");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(matches!(stream_error(&error), StreamError::DeadlineExceeded), "{error:?}");
    assert!(error.to_string().contains("deadline"), "{error}");
}

#[test]
fn a_read_ends_at_its_deadline_and_the_stream_lives_on() {
    run(async {
        let (client, server) = pair(default(), default(), 1 << 20);
        let (mut near, mut far) = stream(&client, &server).await;
        near.set_read_deadline(soon());
        expect_exceeded(near.read(&mut [0; 8]).await);
        expect_exceeded(near.fill_buf().await);
        // The other half is another matter.
        near.write_all(b"there").await.expect("the write half has no deadline");
        near.set_read_deadline(None);
        far.write_all(b"back").await.expect("credit");
        let mut bytes = [0; 4];
        near.read_exact(&mut bytes).await.expect("the deadline is gone");
        assert_eq!(&bytes, b"back");
    });
}

#[test]
fn a_deadline_interrupts_a_read_and_stays_passed_until_changed() {
    run_threaded(async {
        let (client, server) = pair(default(), default(), 1 << 20);
        let (mut near, mut far) = stream(&client, &server).await;
        let deadlines = near.deadlines();
        let reading = tokio::spawn(async move {
            let result = near.read(&mut [0; 8]).await;
            (near, result)
        });
        tokio::time::sleep(SOON).await;
        deadlines.set_read(Some(Instant::now()));
        let (mut near, result) = reading.await.expect("no panic");
        expect_exceeded(result);
        far.write_all(b"data").await.expect("credit");
        settle(&client, &server).await;
        for _ in 0..5 {
            expect_exceeded(near.read(&mut [0; 8]).await);
        }
        assert_eq!(near.read(&mut []).await.expect("nothing is asked for"), 0);
        deadlines.set_read(None);
        assert_eq!(near.read(&mut [0; 8]).await.expect("what was received is not lost"), 4);
        // Half of what the handle has taken is read; the rest waits as well.
        far.write_all(b"more data").await.expect("credit");
        assert_eq!(near.read(&mut [0; 4]).await.expect("data"), 4);
        deadlines.set_read(Some(Instant::now()));
        expect_exceeded(near.read(&mut [0; 8]).await);
        deadlines.set_read(None);
        assert_eq!(near.read(&mut [0; 8]).await.expect("data"), 5);
    });
}

#[test]
fn a_deadline_that_moves_away_does_not_end_a_read() {
    run(async {
        let (client, server) = pair(default(), default(), 1 << 20);
        let (mut near, mut far) = stream(&client, &server).await;
        let deadlines = near.deadlines();
        for later in [None, Some(Instant::now() + Duration::from_secs(600))] {
            // Far enough for the read to be waiting before it, whatever else the machine does.
            deadlines.set(Some(Instant::now() + FAR));
            let mut bytes = [0; 4];
            let reading = near.read_exact(&mut bytes);
            let writing = async {
                deadlines.set(later);
                tokio::time::sleep(FAR + SOON).await;
                far.write_all(b"late").await.expect("credit");
            };
            futures::join!(reading, writing).0.expect("there is time");
        }
    });
}

#[test]
fn writes_end_at_the_deadline_when_the_window_is_full() {
    run(async {
        let (client, server) = pair(quiet().max_send_buffer(1 << 20).build().unwrap(), default(), 1 << 20);
        let (mut near, mut far) = stream(&client, &server).await;
        let bytes = pattern(1, 2 * WINDOW);
        let mut taken = 0;
        while taken < WINDOW {
            taken += near.write(&bytes[taken..]).await.expect("credit");
        }
        assert_eq!(taken, WINDOW);
        near.set_write_deadline(soon());
        expect_exceeded(near.write(&bytes[taken..]).await);
        // What was taken arrives, and what was not is written later.
        near.set_write_deadline(None);
        let rest = async {
            near.write_all(&bytes[taken..]).await.expect("credit");
            near.close().await.expect("closes");
        };
        let mut received = Vec::new();
        let (read, ()) = futures::join!(far.read_to_end(&mut received), rest);
        assert_eq!(read.expect("to the end"), bytes.len());
        assert!(received == bytes);
    });
}

#[test]
fn a_deadline_interrupts_a_write_that_waits() {
    run_threaded(async {
        let (client, server) = pair(default(), default(), 1 << 20);
        let (mut near, _far) = stream(&client, &server).await;
        let deadlines = near.deadlines();
        let writing = tokio::spawn(async move { near.write_all(&pattern(1, 2 * WINDOW)).await });
        tokio::time::sleep(SOON).await;
        deadlines.set_write(Some(Instant::now()));
        expect_exceeded(writing.await.expect("no panic"));
    });
}

#[test]
fn bytes_not_written_by_the_deadline_never_reach_the_peer() {
    run(async {
        let (near_io, far_io) = pipe(4096);
        let (near_io, gate) = Gate::around(near_io);
        let (client, server) = (Node::client(near_io, default()), Node::server(far_io, default()));
        let mut near = client.open().await.expect("opens");
        near.flush().await.expect("announces itself");
        let mut far = server.accept().await.expect("is accepted");
        settle(&client, &server).await;
        gate.shut();
        let bytes = pattern(1, WINDOW);
        let mut taken = 0;
        near.set_write_deadline(soon());
        while let Ok(written) = near.write(&bytes[taken..(taken + 1000).min(WINDOW)]).await {
            taken += written;
            if taken == WINDOW {
                break;
            }
        }
        tokio::time::sleep(2 * SOON).await;
        for _ in 0..5 {
            expect_exceeded(near.write(b"never").await);
        }
        expect_exceeded(near.flush().await);
        gate.open();
        // A drop would be a reset now: the message is not whole.
        near.set_write_deadline(None);
        let mut received = Vec::new();
        let (closed, read) = futures::join!(near.close(), far.read_to_end(&mut received));
        closed.and(read).expect("ends in good order");
        assert!(received == bytes[..taken], "{} bytes where {taken} were taken", received.len());
    });
}

#[test]
fn one_deadline_ends_everything_that_waits() {
    run(async {
        let (near_io, far_io) = pipe(4096);
        let (near_io, gate) = Gate::around(near_io);
        let (client, server) = (Node::client(near_io, default()), Node::server(far_io, default()));
        let (mut near, mut far) = stream(&client, &server).await;
        settle(&client, &server).await;
        gate.shut();
        near.write_all(b"held up").await.expect("the buffer takes it");
        near.set_deadline(soon());
        let deadlines = near.deadlines();
        let (mut reader, mut writer) = near.split();
        let mut byte = [0];
        let (read, flushed) = futures::join!(reader.read(&mut byte), writer.flush());
        expect_exceeded(read);
        expect_exceeded(flushed);
        expect_exceeded(writer.write_all(&pattern(1, 10 << 20)).await);
        // The FIN was asked for all the same.
        expect_exceeded(writer.close().await);
        gate.open();
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.expect("ends in good order");
        assert_eq!(received, b"held up");
        // Flushed by now, and no wait is needed to say so.
        writer.close().await.expect("is closed");
        far.close().await.expect("closes");
        deadlines.set(None);
        assert_eq!(reader.read(&mut [0]).await.expect("the end"), 0);
    });
}

#[test]
fn y_flow_5_a_read_that_comes_too_late_loses_no_credit() {
    run(async {
        let (client, server) = pair(default(), quiet().max_stream_window(WINDOW as u32).build().unwrap(), 1 << 20);
        let (mut near, mut far) = stream(&client, &server).await;
        let bytes = pattern(1, 4 * WINDOW);
        near.write_all(&bytes[..WINDOW / 2]).await.expect("credit");
        settle(&client, &server).await;
        let (mut received, mut buffer) = (Vec::new(), vec![0; 10_000]);
        let writing = async {
            near.write_all(&bytes[WINDOW / 2..]).await.expect("credit comes back");
            near.close().await.expect("closes");
        };
        let reading = async {
            loop {
                // Every other read comes too late.
                far.set_read_deadline(Some(Instant::now()));
                expect_exceeded(far.read(&mut buffer).await);
                far.set_read_deadline(None);
                match far.read(&mut buffer).await.expect("readable") {
                    0 => break,
                    read => received.extend_from_slice(&buffer[..read]),
                }
            }
        };
        futures::join!(writing, reading);
        assert!(received == bytes);
    });
}

/// Setting a deadline wakes the task of that half, and no other.
#[test]
fn a_changed_deadline_wakes_only_the_half_it_concerns() {
    run(async {
        let (client, server) = pair(default(), default(), 1 << 20);
        let (mut near, _far) = stream(&client, &server).await;
        let deadlines = near.deadlines();
        fill(&mut near);
        let ((reads, reader), (writes, writer)) = (Counter::new(), Counter::new());
        assert!(Pin::new(&mut near).poll_read(&mut Context::from_waker(&reader), &mut [0]).is_pending());
        assert!(Pin::new(&mut near).poll_write(&mut Context::from_waker(&writer), &[0]).is_pending());
        deadlines.set_read(Some(Instant::now()));
        assert_eq!((reads.count(), writes.count()), (1, 0));
        deadlines.set_write(Some(Instant::now()));
        assert_eq!((reads.count(), writes.count()), (1, 1));
    });
}

/// Writes until a write would wait.
fn fill(stream: &mut Stream) {
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    while let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(&mut cx, &[0; 4096]) {
        written.expect("the write half is open");
    }
}
