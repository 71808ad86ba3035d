//! Transports whose flush takes time, as a websocket's in a browser does: it stops nothing but whoever waits for it (Y-SEND-5).
//! In virtual time.

use crate::support::clock::{paused, run_paused};
use crate::support::node::Node;
use crate::support::pair::stream;
use crate::support::{Pipe, pipe, quiet};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Bytes a second that the transport takes.
const RATE: u64 = 20_000_000;
/// What it holds, in time.
const BUFFER: Duration = Duration::from_millis(3);

/// When a flush is done.
#[derive(Clone, Copy, Debug)]
enum Flushes {
    AtOnce,
    /// So long after it was begun.
    After(Duration),
    /// When the buffer is empty.
    WhenEmpty,
}

/// A transport with a rate, a buffer and a flush.
struct Slow {
    io: Pipe,
    flushes: Flushes,
    /// When the buffer will be empty.
    empty_at: Instant,
    flush_at: Option<Instant>,
    writing: Option<Pin<Box<Sleep>>>,
    flushing: Option<Pin<Box<Sleep>>>,
}

/// Ready at that moment.
fn poll_until(alarm: &mut Option<Pin<Box<Sleep>>>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let alarm = alarm.insert(Box::pin(sleep_until(at)));
    alarm.as_mut().poll(cx)
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        if self.empty_at >= now + BUFFER {
            let at = self.empty_at - BUFFER / 2;
            assert!(poll_until(&mut self.writing, at, cx).is_pending());
            return Poll::Pending;
        }
        let len = buf.len().min(16 * 1024);
        let Poll::Ready(taken) = Pin::new(&mut self.io).poll_write(cx, &buf[..len])? else {
            panic!("the pipe is large enough");
        };
        self.empty_at = self.empty_at.max(now) + Duration::from_nanos(taken as u64 * 1_000_000_000 / RATE);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (now, this) = (Instant::now(), &mut *self);
        let at = match this.flushes {
            Flushes::AtOnce => now,
            Flushes::After(time) => *this.flush_at.get_or_insert(now + time),
            Flushes::WhenEmpty => this.empty_at,
        };
        if at > now && poll_until(&mut this.flushing, at, cx).is_pending() {
            return Poll::Pending;
        }
        this.flush_at = None;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// A node on such a transport, and its peer.
fn slow_and_plain(flushes: Flushes) -> (Node<Slow>, Node<Pipe>) {
    let config = || paused(quiet()).build().expect("valid");
    let (near, far) = pipe(64 << 20);
    let (empty_at, flush_at) = (Instant::now(), None);
    let near = Slow { io: near, flushes, empty_at, flush_at, writing: None, flushing: None };
    (Node::client(near, config()), Node::server(far, config()))
}

/// Bytes of bulk so far.
async fn bulk(near: &Node<Slow>, far: &Node<Pipe>) -> Arc<AtomicU64> {
    let (mut from, mut to) = stream(near, far).await;
    let received = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        let chunk = [7; 16 * 1024];
        loop {
            from.write_all(&chunk).await.expect("writes");
        }
    });
    let counter = received.clone();
    tokio::spawn(async move {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = to.read(&mut chunk).await {
            counter.fetch_add(read as u64, Ordering::Relaxed);
        }
    });
    received
}

/// Writes a little and flushes it, again and again. Counts the flushes, and keeps the longest.
async fn flusher(near: &Node<Slow>, far: &Node<Pipe>) -> (Arc<AtomicU64>, Arc<AtomicU64>) {
    let (mut from, mut to) = stream(near, far).await;
    let (count, longest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let told = (count.clone(), longest.clone());
    tokio::spawn(async move {
        let mut sink = vec![0; 1024];
        while let Ok(1..) = to.read(&mut sink).await {}
    });
    tokio::spawn(async move {
        loop {
            let start = Instant::now();
            from.write_all(b"a message").await.expect("writes");
            from.flush().await.expect("flushes");
            count.fetch_add(1, Ordering::Relaxed);
            longest.fetch_max(start.elapsed().as_millis() as u64, Ordering::Relaxed);
            sleep(MILLI).await;
        }
    });
    told
}

/// Bytes of bulk that arrive in 2 s beside somebody who flushes; how many flushes there were, and how long the longest took.
fn beside_a_flusher(flushes: Flushes) -> (u64, u64, u64) {
    run_paused(async {
        let (near, far) = slow_and_plain(flushes);
        let received = bulk(&near, &far).await;
        sleep(SECOND).await;
        let (count, longest) = flusher(&near, &far).await;
        let before = received.load(Ordering::Relaxed);
        sleep(2 * SECOND).await;
        let bytes = received.load(Ordering::Relaxed) - before;
        (bytes, count.load(Ordering::Relaxed), longest.load(Ordering::Relaxed))
    })
}

#[test]
fn y_send_5_bulk_keeps_its_rate_beside_flushes_that_take_time() {
    let (free, ..) = beside_a_flusher(Flushes::AtOnce);
    assert!(free > RATE * 2 * 9 / 10, "{free}");
    for (millis, count) in [(5, 100), (100, 15)] {
        let (bytes, flushes, longest) = beside_a_flusher(Flushes::After(millis * MILLI));
        assert!(bytes > free / 10 * 9, "{bytes} bytes with flushes of {millis} ms, and {free} without");
        assert!(flushes >= count && longest <= 3 * u64::from(millis) + 20, "{flushes} flushes, up to {longest} ms");
    }
}

#[test]
fn y_send_5_a_flush_of_an_empty_buffer_is_done_in_a_second() {
    let (bytes, flushes, longest) = beside_a_flusher(Flushes::WhenEmpty);
    assert!(bytes > RATE * 2 * 9 / 10, "{bytes}");
    assert!(flushes >= 1 && longest <= 1_100, "{flushes} flushes, up to {longest} ms");
}

#[test]
fn y_send_5_pongs_and_credit_leave_while_a_flush_is_pending() {
    for flushes in [Flushes::After(100 * MILLI), Flushes::After(SECOND / 2), Flushes::WhenEmpty] {
        run_paused(async {
            let (near, far) = slow_and_plain(flushes);
            let (mut from, mut to) = stream(&far, &near).await;
            tokio::spawn(async move {
                let mut sink = vec![0; 64 * 1024];
                while let Ok(1..) = to.read(&mut sink).await {}
            });
            flusher(&near, &far).await;
            for _ in 0..10 {
                let start = Instant::now();
                far.ping().await.expect("answered");
                assert!(start.elapsed() < 20 * MILLI, "{flushes:?}: a pong after {:?}", start.elapsed());
                let start = Instant::now();
                from.write_all(&vec![7; 1 << 20]).await.expect("there is credit");
                assert!(start.elapsed() < 20 * MILLI, "{flushes:?}: four windows in {:?}", start.elapsed());
                sleep(17 * MILLI).await;
            }
        });
    }
}

#[test]
fn y_send_5_what_is_written_while_a_flush_is_pending_leaves_at_once() {
    run_paused(async {
        let (near, far) = slow_and_plain(Flushes::After(SECOND / 2));
        let (mut slow, _held) = stream(&near, &far).await;
        let (mut from, mut to) = stream(&near, &far).await;
        slow.write_all(b"x").await.expect("writes");
        let mut flushing = std::pin::pin!(slow.flush());
        assert!(flushing.as_mut().now_or_never().is_none());
        sleep(10 * MILLI).await;
        // The driver has nothing to do but wait for the flush.
        let start = Instant::now();
        from.write_all(b"hello").await.expect("writes");
        to.read_exact(&mut [0; 5]).await.expect("arrives");
        assert!(start.elapsed() < 5 * MILLI, "{:?}", start.elapsed());
        flushing.await.expect("flushes");
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    });
}
