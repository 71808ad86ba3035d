//! Windows: back-pressure, and growth.

use crate::ends::{End, Io, Ours, Peer, RUST_YAMUX, TOKIO_YAMUX, Window};
use crate::pattern::{expect_end, receive, send, send_until_pending};
use crate::support::{Pipe, pipe, quiet, run};
use crate::{Cell, other};
use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::{MemoryLimit, Mode, Stream};
use std::cell::Cell as Counter;
use std::sync::Arc;
use std::time::Duration;

const WINDOW: usize = 256 << 10;

pub async fn n19_slow_reader_over_there_holds_our_writer(cell: Cell) {
    const LEN: usize = 1 << 20;
    let mut here = cell.ours.open_stream().await;
    let sent = send_until_pending(&mut here, 0, 0).await;
    assert_eq!(sent, WINDOW, "our writer takes what the peer has room for, and then waits");
    let mut there = cell.theirs.accept().await;
    let more = async {
        send(&mut here, 0, sent, LEN).await.expect("goes on");
        here.close().await.expect("closes");
    };
    let read = async {
        receive(&mut there, 0, 0, LEN).await;
        expect_end(&mut there).await;
        there.close().await.expect("closes");
    };
    join(more, read).await;
    expect_end(&mut here).await;
}

pub async fn n19_slow_reader_here_holds_their_writer(cell: Cell) {
    const LEN: usize = 1 << 20;
    let mut there = cell.theirs.open().await;
    let sent = Counter::new(0);
    let write = async {
        while sent.get() < LEN {
            let next = sent.get() + 1024;
            send(&mut there, 0, sent.get(), next).await.expect("goes on");
            sent.set(next);
        }
        there.close().await.expect("closes");
    };
    let read = async {
        let mut here = cell.ours.accept_stream().await;
        // A ping that was answered is a moment in which the peer has heard all we had to say.
        while sent.get() < WINDOW {
            cell.ours.node.ping().await.expect("answered");
        }
        cell.ours.node.ping().await.expect("answered");
        assert_eq!(sent.get(), WINDOW, "their writer waits for what we have not read");
        receive(&mut here, 0, 0, LEN).await;
        expect_end(&mut here).await;
    };
    join(write, read).await;
}

#[test]
fn n19_their_window_grows_past_the_initial_one() {
    for_growth(async |ours, theirs, _| {
        let there = async {
            let mut there = theirs.accept().await;
            receive(&mut there, 0, 0, GROWN).await;
            there
        };
        let here = async {
            let mut here = ours.open_stream().await;
            send(&mut here, 0, 0, GROWN).await.expect("the stream takes it");
            here
        };
        let (mut here, mut there) = join(here, there).await;
        // All that was sent has been read, and the credit for it has arrived. Nobody reads any more.
        ours.node.ping().await.expect("answered");
        let sent = send_until_pending(&mut here, 0, GROWN).await;
        assert!(sent - GROWN > WINDOW, "{} bytes of credit", sent - GROWN);
        let (rest, ()) = join(here.close(), receive(&mut there, 0, GROWN, sent)).await;
        rest.expect("closes");
        expect_end(&mut there).await;
    });
}

#[test]
fn n19_our_window_grows_past_the_initial_one() {
    for_growth(async |ours, theirs, budget| {
        let mut there = theirs.open().await;
        let sent = Counter::new(0);
        let write = async {
            while sent.get() < 2 * GROWN {
                let next = sent.get() + 1024;
                send(&mut there, 0, sent.get(), next).await.expect("goes on");
                sent.set(next);
            }
            there.close().await.expect("closes");
        };
        let read = async {
            let mut here: Stream = ours.accept_stream().await;
            receive(&mut here, 0, 0, GROWN).await;
            // Nobody reads, and still more than an initial window is sent.
            while sent.get() - GROWN <= WINDOW {
                ours.node.ping().await.expect("answered");
            }
            assert!(budget.peak() > WINDOW, "a window of {} bytes", budget.peak());
            receive(&mut here, 0, GROWN, 2 * GROWN).await;
            expect_end(&mut here).await;
        };
        join(write, read).await;
    });
}

/// Bytes after which a window that grows has grown.
const GROWN: usize = 4 << 20;

/// Runs with every peer in both roles, over a path with a round trip that is long enough for windows to matter.
fn for_growth(scenario: impl AsyncFn(&Ours, &dyn End, &MemoryLimit)) {
    for Peer { name, start, .. } in [RUST_YAMUX, TOKIO_YAMUX] {
        for mode in [Mode::Client, Mode::Server] {
            eprintln!("{name}, we are the {mode:?}");
            run(async {
                let budget = Arc::new(MemoryLimit::new(64 << 20));
                let config = quiet().memory(budget.clone()).max_send_buffer(16 << 20).build().expect("valid");
                let (near, far) = far_away(Duration::from_millis(5));
                let ours = Ours::start(near, mode, config);
                let theirs = start(far, other(mode), Window::Large);
                // The first round trip has been measured.
                ours.node.ping().await.expect("answered");
                scenario(&ours, &*theirs, &budget).await;
            });
        }
    }
}

/// A pipe whose bytes arrive `latency` after they were sent, however many they are.
fn far_away(latency: Duration) -> (Io, Io) {
    let ((near, here), (far, there)) = (pipe(1 << 16), pipe(1 << 16));
    let ((here_in, here_out), (there_in, there_out)) = (here.split(), there.split());
    for (mut from, mut to) in [(here_in, there_out), (there_in, here_out)] {
        let (arriving, mut arrived) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                let _ = arriving.send((tokio::time::Instant::now() + latency, buffer[..read].to_vec()));
            }
        });
        tokio::spawn(async move {
            while let Some((at, bytes)) = arrived.recv().await {
                tokio::time::sleep_until(at).await;
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            let _ = to.close().await;
        });
    }
    let (near, far): (Pipe, Pipe) = (near, far);
    (Box::new(near), Box::new(far))
}
