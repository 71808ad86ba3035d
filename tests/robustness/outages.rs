//! Links that stall and recover, and slow ones: a peer that gives a sign of life is not taken for dead (Y-PING-6, Y-PING-8,
//! Y-CLOSE-5). In virtual time, with the times that are the default.

use crate::support::clock::{paused, run_paused};
use crate::support::node::Node;
use crate::support::pair::{Gate, stream};
use crate::support::peer::{Peer, ping, pong, update};
use crate::support::{Pipe, pipe};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::{Flags, Frame, Header, Parser, PingKind};
use sluicegate::{Config, ConnectionError, PingError, Priority};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::compat::TokioAsyncReadCompatExt;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn default() -> Config {
    paused(Config::builder()).build().expect("valid")
}

/// Until when nothing moves on a link.
#[derive(Clone)]
struct Still(Arc<Mutex<Instant>>);

impl Still {
    fn stand(&self, time: Duration) {
        *self.0.lock().expect("no panic") = Instant::now() + time;
    }

    fn until(&self) -> Instant {
        *self.0.lock().expect("no panic")
    }
}

async fn carry(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, still: Still) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        while Instant::now() < still.until() {
            sleep_until(still.until()).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// Two ends of a link that can be stalled.
fn link() -> (Pipe, Pipe, Still) {
    let ((near, a), (b, far)) = (duplex(64 << 10), duplex(64 << 10));
    let still = Still(Arc::new(Mutex::new(Instant::now())));
    let ((from_a, to_a), (from_b, to_b)) = (split(a), split(b));
    tokio::spawn(carry(from_a, to_b, still.clone()));
    tokio::spawn(carry(from_b, to_a, still.clone()));
    (near.compat(), far.compat(), still)
}

/// What is on the wire when the link stalls.
#[derive(Clone, Copy, Debug)]
enum UnderWay {
    /// A ping that measures.
    Measuring,
    /// One of the application's.
    Users,
    /// One that paces bulk beside something urgent.
    Pacing,
    /// None.
    Nothing,
}

async fn survives(outage: Duration, under_way: UnderWay) {
    let (near, far, still) = link();
    let (client, server) = (Node::client(near, default()), Node::server(far, default()));
    let (mut talk, mut echo) = stream(&client, &server).await;
    talk.set_priority(Priority::HIGH);
    tokio::spawn(async move {
        let mut byte = [0; 1];
        while echo.read_exact(&mut byte).await.is_ok() {
            echo.write_all(&byte).await.expect("writes");
        }
    });
    let (mut bulk, _bulk) = stream(&client, &server).await;
    // A word each second, until just before the next measurement.
    for _ in 0..29 {
        talk.write_all(b"x").await.expect("writes");
        talk.read_exact(&mut [0; 1]).await.expect("an echo");
        sleep(SECOND).await;
    }
    let before = match under_way {
        UnderWay::Measuring => 990 * MILLI,
        _ => 500 * MILLI,
    };
    sleep(before).await;
    // The silence begins with the outage.
    talk.write_all(b"x").await.expect("writes");
    talk.read_exact(&mut [0; 1]).await.expect("an echo");
    match under_way {
        UnderWay::Measuring | UnderWay::Nothing => still.stand(outage),
        UnderWay::Users => {
            still.stand(outage);
            assert!(matches!(client.ping().await, Err(PingError::TimedOut)));
        }
        UnderWay::Pacing => {
            talk.write_all(b"x").await.expect("writes");
            bulk.write_all(&[7; 100]).await.expect("writes");
            still.stand(outage);
        }
    }
    sleep_until(still.until()).await;
    talk.write_all(b"y").await.expect("lives");
    let mut last = [0; 1];
    while last != *b"y" {
        talk.read_exact(&mut last).await.expect("lives");
    }
    // And nothing that was under way then ends it later.
    sleep(100 * SECOND).await;
    client.ping().await.expect("lives");
    server.ping().await.expect("lives");
}

#[test]
fn y_ping_8_outages_of_12_s_and_39_s_are_survived() {
    for seconds in [12, 39] {
        for under_way in [UnderWay::Measuring, UnderWay::Users, UnderWay::Pacing, UnderWay::Nothing] {
            println!("{seconds} s, {under_way:?}");
            run_paused(survives(seconds * SECOND, under_way));
        }
    }
}

#[test]
fn y_ping_8_a_peer_that_says_nothing_ends_the_connection_after_40_s() {
    run_paused(async {
        let (near, far, still) = link();
        let (client, server) = (Node::client(near, default()), Node::server(far, default()));
        client.ping().await.expect("answered");
        sleep(7 * SECOND).await;
        server.ping().await.expect("answered");
        let start = Instant::now();
        still.stand(3600 * SECOND);
        let ended = client.ended().await;
        assert!(matches!(ended, Err(ConnectionError::KeepAliveTimeout)), "{ended:?}");
        let took = start.elapsed();
        assert!(took > 40 * SECOND - 10 * MILLI && took < 40 * SECOND + 10 * MILLI, "{took:?}");
    });
}

#[test]
fn y_close_5_a_peer_that_neither_sends_nor_takes_ends_after_10_s() {
    run_paused(async {
        let (near, far, still) = link();
        let (client, server) = (Node::client(near, default()), Node::server(far, default()));
        let (mut bulk, _held) = stream(&client, &server).await;
        client.ping().await.expect("answered");
        let start = Instant::now();
        still.stand(3600 * SECOND);
        tokio::spawn(async move {
            let _ = bulk.write_all(&vec![7; 200_000]).await;
        });
        let ended = client.ended().await;
        assert!(matches!(ended, Err(ConnectionError::WriteTimeout)), "{ended:?}");
        let took = start.elapsed();
        assert!(took > 10 * SECOND - 10 * MILLI && took < 10 * SECOND + 10 * MILLI, "{took:?}");
    });
}

/// Reads at a rate, answers pings when it comes to them, and gives credit for half of a window of 16 MiB at a time.
async fn slow_reader(mut io: DuplexStream, rate: usize) {
    const WINDOW: u32 = 16 << 20;
    let (mut parser, mut unparsed, mut received) = (Parser::default(), Vec::new(), 0);
    let mut bytes = vec![0; rate / 10];
    loop {
        sleep(100 * MILLI).await;
        let read = io.read(&mut bytes).await.expect("no error");
        unparsed.extend_from_slice(&bytes[..read]);
        let (mut input, mut answers) = (&unparsed[..], Vec::new());
        while let Some(frame) = parser.next(&mut input).expect("legal") {
            match frame {
                Frame::Header(Header::Ping { kind: PingKind::Request, nonce }) => answers.push(pong(nonce)),
                Frame::Header(Header::WindowUpdate { id, flags: Flags::SYN, .. }) => {
                    answers.push(update(id.value(), Flags::ACK, WINDOW - 256 * 1024));
                }
                Frame::Body(body) => {
                    received += body.len() as u32;
                    if received >= WINDOW / 2 {
                        received -= WINDOW / 2;
                        answers.push(update(1, Flags::NONE, WINDOW / 2));
                    }
                }
                Frame::Header(_) => {}
            }
        }
        let rest = input.to_vec();
        for header in answers {
            io.write_all(&header.encode()).await.expect("room");
        }
        unparsed = rest;
    }
}

#[test]
fn y_ping_6_a_slow_upload_is_a_sign_of_life() {
    run_paused(async {
        let (near, far) = duplex(4_000_000);
        tokio::spawn(slow_reader(far, 200_000));
        let client = Node::client(near.compat(), default());
        let mut upload = client.open().await.expect("opens");
        let writing = tokio::spawn(async move {
            let chunk = [7; 16 * 1024];
            loop {
                upload.write_all(&chunk).await.expect("lives");
            }
        });
        for _ in 0..60 {
            sleep(10 * SECOND).await;
            assert_eq!(client.call(|connection| connection.closed().map(|reason| reason.to_string())).await, None);
        }
        let sent = client.call(|connection| connection.stats().sent.data_bytes).await;
        assert!(sent > 600 * 190_000, "{sent}");
        writing.abort();
    });
}

#[test]
fn y_close_5_a_transport_that_takes_large_steps_is_waited_for() {
    run_paused(async {
        let (near, far) = pipe(1 << 20);
        let (near, gate) = Gate::around(near);
        let client = Node::client(near, default());
        let mut peer = Peer::new(far);
        let mut stream = client.open().await.expect("opens");
        stream.flush().await.expect("flushes");
        peer.expect(update(1, Flags::SYN, 0)).await;
        peer.send(update(1, Flags::ACK, 1 << 20)).await;
        tokio::spawn(async move {
            loop {
                stream.write_all(&[7; 1000]).await.expect("lives");
                sleep(2 * SECOND).await;
            }
        });
        for step in 0..10 {
            gate.shut();
            for nonce in 0..5 {
                sleep(3 * SECOND).await;
                peer.send(ping(100 + 5 * step + nonce)).await;
            }
            sleep(4 * SECOND).await;
            assert!(!client.call(|connection| connection.is_closed()).await, "in step {step}");
            gate.open();
            sleep(100 * MILLI).await;
        }
        // When neither is the case any more, it ends 10 s after the last that was heard.
        gate.shut();
        sleep(3 * SECOND).await;
        peer.send(ping(1)).await;
        let start = Instant::now();
        let ended = client.ended().await;
        assert!(matches!(ended, Err(ConnectionError::WriteTimeout)), "{ended:?}");
        let took = start.elapsed();
        assert!(took > 10 * SECOND - 10 * MILLI && took < 10 * SECOND + 10 * MILLI, "{took:?}");
    });
}
