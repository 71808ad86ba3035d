//! Managers and tasks that misbehave: nothing leaks, nothing hangs, nobody else is harmed.

use crate::support::clock::{paused, run_paused};
use crate::support::manager::{BOOKS, Call, Recorder};
use crate::support::node::Node;
use crate::support::outcome::{lost, reset, stream_error};
use crate::support::pair::*;
use crate::support::{Pipe, pipe, quiet, run};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::memory::Refused;
use sluicegate::{
    Config, Connection, ConnectionError, MemoryLimit, MemoryManager, Mode, Priority, ReceiveCharge, Side, Stream,
    StreamError, Violation,
};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

fn config(memory: Arc<dyn MemoryManager>) -> Config {
    quiet().memory(memory).max_send_buffer(65_536).build().unwrap()
}

/// What the send buffers of a scenario may grow by.
const SEND_GROWTH: usize = 65_536;

/// How the connections of a scenario end.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Drop,
    Violation,
}

type Ends<'a> = (&'a Node<Gated<Pipe>>, &'a Node<Pipe>);

/// A stream and its other end, unless memory for one of them is refused.
async fn attempt((client, server): Ends<'_>) -> Option<(Stream, Stream)> {
    let mut near = client.open().await.ok()?;
    near.flush().await.unwrap();
    let id = near.id();
    let mut accepted = Box::pin(server.accept());
    let mut buf = [0];
    let mut read = Box::pin(near.read(&mut buf));
    match futures::future::select(&mut accepted, &mut read).await {
        futures::future::Either::Left((far, _)) => {
            let far = far.unwrap();
            assert_eq!(far.id(), id);
            drop((accepted, read));
            Some((near, far))
        }
        futures::future::Either::Right((refused, _)) => {
            assert_eq!(reset(&refused.unwrap_err()), (Side::Remote, 0));
            None
        }
    }
}

/// Everything that reserves and releases, with one reservation refused: the `n`-th. Says whether there were so many,
/// and whether a window has grown.
async fn scenario(n: usize, charging: ReceiveCharge, end: End) -> (bool, bool) {
    let memory = Recorder::granting(move |asked, _, _| asked != n);
    let settings =
        || paused(quiet()).receive_charge(charging).memory(memory.clone()).max_send_buffer(65_536 + SEND_GROWTH);
    let settings = || settings().build().unwrap();
    let (near, far) = slow(Duration::from_millis(2));
    let (near, gate) = Gate::around(near);
    let (client, server) = (Node::client(near, settings()), Node::server(far, settings()));
    let ends = (&client, &server);
    settle(&client, &server).await;
    if let Some((near, far)) = attempt(ends).await {
        // Grows windows and send buffers.
        let sent = pattern(n, 3 * WINDOW);
        let (echoed, received) = futures::join!(echo(far), exchange(near, &sent));
        assert_eq!(echoed.unwrap(), 3 * WINDOW as u64);
        assert!(received.unwrap() == sent);
    }
    if let Some((mut near, far)) = attempt(ends).await {
        near.write_all(b"never read").await.unwrap();
        near.reset(7);
        drop(far);
    }
    let half = attempt(ends).await;
    let mut kept = Vec::new();
    if let Some((mut near, mut far)) = half {
        far.write_all(b"unread").await.unwrap();
        far.close().await.unwrap();
        near.close().await.unwrap();
        kept.push(near);
    }
    if let Some((mut near, far)) = attempt(ends).await {
        near.close_read();
        kept.extend([near, far]);
    }
    // One that is not accepted.
    if let Ok(mut waiting) = client.open().await {
        waiting.flush().await.unwrap();
        kept.push(waiting);
    }
    settle(&client, &server).await;
    match end {
        End::Close => {
            client.close().await.unwrap();
            server.ended().await.unwrap();
        }
        End::Drop => {
            drop(client);
            server.ended().await.unwrap_err();
        }
        End::Violation => {
            gate.spoil();
            let _ = futures::join!(client.ping(), async {
                let reason = server.ended().await.unwrap_err();
                assert!(matches!(reason, ConnectionError::Violation(Violation::Version(9))), "{reason:?}");
            });
            client.ended().await.unwrap_err();
            drop(client);
        }
    }
    drop(kept);
    drop(server);
    // The drivers hold what is left until they are gone; they have been told.
    while Arc::strong_count(&memory) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    memory.assert_balanced();
    let grown = |call: &Call| matches!(call, Call::Reserve(bytes, 152) if *bytes != SEND_GROWTH);
    (memory.asked() > n, memory.calls().iter().any(grown))
}

#[test]
fn y_mem_3_any_reservation_may_be_refused_and_nothing_leaks() {
    for charging in [ReceiveCharge::Window, ReceiveCharge::Buffered] {
        let mut windows_grew = false;
        for end in [End::Close, End::Drop, End::Violation] {
            run_paused(async {
                let mut n = 0;
                loop {
                    let (reached, grown) = scenario(n, charging, end).await;
                    windows_grew |= grown;
                    if !reached {
                        break;
                    }
                    n += 1;
                }
                // Five streams of two windows each, and the send buffers of both ends.
                assert!(n >= 12, "{n}");
            });
        }
        assert!(windows_grew);
    }
}

#[test]
fn a_task_that_panics_with_streams_in_its_hands_leaks_nothing() {
    run(async {
        let (near_budget, far_budget) = (Arc::new(MemoryLimit::new(1 << 30)), Arc::new(MemoryLimit::new(1 << 30)));
        let (client, server) = pair(config(near_budget.clone()), config(far_budget.clone()), 4096);
        let (mut near, far) = stream(&client, &server).await;
        let other = stream(&client, &server).await;
        near.write_all(&pattern(0, 100_000)).await.unwrap();
        near.flush().await.unwrap();
        let task = tokio::spawn(async move {
            let mut held = [near, far];
            held[1].read_exact(&mut [0; 10]).await.unwrap();
            panic!("with streams in its hands");
        });
        assert!(task.await.unwrap_err().is_panic());
        settle(&client, &server).await;
        assert_eq!((near_budget.reserved(), far_budget.reserved()), (WINDOW, WINDOW));
        assert_eq!((client.num_streams().await, server.num_streams().await), (1, 1));
        drop(other);
        assert_eq!((near_budget.reserved(), far_budget.reserved()), (BOOKS, BOOKS));
        settle(&client, &server).await;
        assert_eq!((near_budget.reserved(), far_budget.reserved()), (0, 0));
    });
}

/// Panics where it is told to: at the next reservation, or at every release.
#[derive(Debug, Default)]
struct Panicking {
    reserve: AtomicBool,
    release: AtomicBool,
    held: AtomicUsize,
}

impl MemoryManager for Panicking {
    fn reserve(&self, bytes: usize, _: Priority) -> Result<(), Refused> {
        assert!(!self.reserve.swap(false, Ordering::SeqCst), "reserve panics");
        self.held.fetch_add(bytes, Ordering::SeqCst);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        assert!(!self.release.load(Ordering::SeqCst), "release panics");
    }
}

#[test]
fn a_panic_in_reserve_ends_only_the_calling_task() {
    run(async {
        let memory = Arc::new(Panicking::default());
        let (client, server) = pair(Config::default(), config(memory.clone()), 4096);
        let bystanders = pair(config(memory.clone()), config(memory.clone()), 4096);
        let beside = stream(&bystanders.0, &bystanders.1).await;
        let (mut near, mut far) = stream(&client, &server).await;
        let mut next = client.open().await.unwrap();
        memory.reserve.store(true, Ordering::SeqCst);
        next.flush().await.unwrap();
        // The driver's task ends: its streams are told so, and the peer's.
        let error = far.read(&mut [0]).await.unwrap_err();
        assert!(matches!(lost(&error), ConnectionError::Dropped), "{error:?}");
        let error = near.read(&mut [0]).await.unwrap_err();
        assert!(matches!(lost(&error), ConnectionError::UnexpectedEof), "{error:?}");
        assert!(server.task.await.unwrap_err().is_panic());
        drop(far);
        assert_eq!(memory.held.load(Ordering::SeqCst), 2 * WINDOW);
        let (echoed, received) = futures::join!(echo(beside.1), exchange(beside.0, b"alive"));
        assert_eq!((echoed.unwrap(), received.unwrap().as_slice()), (5, &b"alive"[..]));
    });
}

#[test]
fn a_manager_that_panics_in_release_keeps_nobody_from_being_woken() {
    let memory = Arc::new(Panicking::default());
    let mut connection = Connection::new(pipe(4096).0, config(memory.clone()), Mode::Client);
    let mut streams = [(); 4].map(|()| poll_fn(|cx| connection.poll_outbound(cx)).now_or_never().unwrap().unwrap());
    let (counter, waker) = Counter::new();
    let cx = &mut Context::from_waker(&waker);
    for stream in &mut streams {
        assert!(Pin::new(stream).poll_read(cx, &mut [0]).is_pending());
    }
    memory.release.store(true, Ordering::SeqCst);
    // One stream that gives its memory back and wakes its reader.
    assert!(catch_unwind(AssertUnwindSafe(|| streams[0].reset(1))).is_err());
    assert_eq!((counter.count(), memory.held.load(Ordering::SeqCst)), (1, 3 * WINDOW));
    let Poll::Ready(Err(error)) = Pin::new(&mut streams[0]).poll_read(cx, &mut [0]) else { panic!("no reset") };
    assert_eq!(reset(&error), (Side::Local, 1));
    // Nothing is poisoned.
    assert_eq!(streams[1].write(b"alive").now_or_never().unwrap().unwrap(), 5);
    // Three at once.
    assert!(catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err());
    assert_eq!((counter.count(), memory.held.load(Ordering::SeqCst)), (4, 0));
    drop(streams);
    assert_eq!(memory.held.load(Ordering::SeqCst), 0);
}

/// Uses a stream of the connection from within every call: it would hang if the connection's lock were held.
#[derive(Default)]
struct Reentrant {
    stream: Mutex<Option<Arc<Stream>>>,
    calls: AtomicUsize,
}

impl Reentrant {
    fn use_stream(&self) {
        let stream = self.stream.lock().unwrap().clone();
        if let Some(stream) = stream {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let priority = stream.priority();
            stream.set_priority(priority);
        }
    }
}

impl fmt::Debug for Reentrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reentrant")
    }
}

impl MemoryManager for Reentrant {
    fn reserve(&self, _: usize, priority: Priority) -> Result<(), Refused> {
        self.use_stream();
        if priority == Priority::new(3) { Err(Refused::new(0)) } else { Ok(()) }
    }

    fn release(&self, _: usize) {
        self.use_stream();
    }
}

#[test]
fn the_manager_is_never_called_under_the_connections_lock() {
    run(async {
        let memory = Arc::new(Reentrant::default());
        let settings = quiet().memory(memory.clone()).max_send_buffer(1 << 20).build().unwrap();
        let (near, far) = slow(Duration::from_millis(5));
        let (client, server) = (Node::client(near, Config::default()), Node::server(far, settings));
        settle(&client, &server).await;
        let (_held, watched) = stream(&client, &server).await;
        *memory.stream.lock().unwrap() = Some(Arc::new(watched));
        let mut last = 0;
        let mut called = |what: &str| {
            let calls = memory.calls.load(Ordering::SeqCst);
            assert!(std::mem::replace(&mut last, calls) < calls, "no call at {what}");
        };
        let (near, far) = stream(&client, &server).await;
        called("accepting");
        let sent = pattern(0, 4 * WINDOW);
        let (echoed, received) = futures::join!(echo(far), exchange(near, &sent));
        echoed.unwrap();
        assert!(received.unwrap() == sent);
        called("growing and ending");
        drop(server.open().await.unwrap());
        called("opening");
        let (mut near, mut far) = stream(&client, &server).await;
        far.reset(1);
        near.read(&mut [0]).await.unwrap_err();
        called("a local reset");
        let (mut near, mut far) = stream(&client, &server).await;
        near.reset(1);
        far.read(&mut [0]).await.unwrap_err();
        drop(far);
        called("a remote reset");
        let (_near, mut far) = stream(&client, &server).await;
        far.close_read();
        called("close_read");
        let mut unaccepted = client.open().await.unwrap();
        unaccepted.flush().await.unwrap();
        settle(&client, &server).await;
        called("a stream that waits");
        client.close().await.unwrap();
        server.ended().await.unwrap();
        called("the end of the connection");
        let watched = memory.stream.lock().unwrap().take();
        drop(watched);
    });
}

// A stream that outlives its connection, and a connection that outlives its streams.
#[test]
fn memory_is_given_back_whoever_goes_first() {
    run(async {
        for streams_first in [true, false] {
            let budget = Arc::new(MemoryLimit::new(1 << 30));
            let (near, far) = pipe(4096);
            let client = Node::client(near, config(budget.clone()));
            let server = Node::server(far, Config::default());
            let (near, far) = stream(&client, &server).await;
            let lazy = client.open().await.unwrap();
            assert_eq!(budget.reserved(), 2 * WINDOW);
            if streams_first {
                drop((near, lazy));
                assert_eq!(budget.reserved(), BOOKS);
                drop((client, far));
                // The driver learns of it with its next turn.
                while budget.reserved() > 0 {
                    tokio::task::yield_now().await;
                }
            } else {
                client.task.abort();
                let mut near = near;
                let error: io::Error = near.read(&mut [0]).await.unwrap_err();
                assert!(matches!(stream_error(&error), StreamError::Connection(ConnectionError::Dropped)));
                assert_eq!(budget.reserved(), 0);
                drop((near, lazy, far));
            }
            assert_eq!(budget.reserved(), 0);
        }
    });
}
