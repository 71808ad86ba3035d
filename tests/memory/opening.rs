//! First windows: reserved when a stream opens and when a SYN arrives, refused without harm, given back once.

use crate::support::manager::Call::{Refuse, Release, Reserve};
use crate::support::manager::{BOOKS, Mute, Recorder, Watched};
use crate::support::node::Node;
use crate::support::outcome::{lost, read_to_error, reset, violation};
use crate::support::pair::*;
use crate::support::peer::{Peer, data, update};
use crate::support::{Pipe, pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::Flags;
use sluicegate::{
    Config, Connection, ConnectionError, MemoryLimit, MemoryManager, Mode, OpenError, Priority, RefusedOpen, Side,
    Violation,
};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const FIRST: u32 = WINDOW as u32;

fn config(memory: Arc<dyn MemoryManager>) -> Config {
    quiet().memory(memory).refusal_code(0x1002).build().unwrap()
}

#[test]
fn y_mem_1_windows_are_reserved_at_open_and_at_syn() {
    run(async {
        let (near, far) = (Recorder::new(), Recorder::new());
        let (client, server) = pair(config(near.clone()), config(far.clone()), 4096);
        let mut opened = client.open().await.unwrap();
        assert_eq!(near.calls(), [Reserve(WINDOW, 255)]);
        opened.flush().await.unwrap();
        settle(&client, &server).await;
        assert_eq!(far.calls(), [Reserve(WINDOW, 255)]);
        let accepted = server.accept().await.unwrap();
        settle(&client, &server).await;
        assert_eq!((near.calls(), far.calls()), (vec![], vec![]));
        drop((opened, accepted));
        settle(&client, &server).await;
        // Y-MEM-8: the window at once, the stream itself when the peer has been told.
        let released = vec![Release(WINDOW - BOOKS), Release(BOOKS)];
        assert_eq!((near.calls(), far.calls()), (released.clone(), released));
        // One that nobody ever heard of.
        drop(client.open().await.unwrap());
        assert_eq!((near.calls(), far.calls()), (vec![Reserve(WINDOW, 255), Release(WINDOW)], vec![]));
    });
}

// The one stream is refused, and the others do not notice.
#[test]
fn y_mem_1_an_inbound_stream_that_is_refused_is_reset_alone() {
    run(async {
        let far = Recorder::granting(|n, _, _| n != 1);
        let (client, server) = pair(Config::default(), config(far.clone()), 4096);
        let first = stream(&client, &server).await;
        let mut refused = client.open().await.unwrap();
        refused.write_all(&pattern(0, 1000)).await.unwrap();
        assert_eq!(reset(&refused.read(&mut [0]).await.unwrap_err()), (Side::Remote, 0x1002));
        assert_eq!(reset(&refused.write(&[0]).await.unwrap_err()), (Side::Remote, 0x1002));
        let third = stream(&client, &server).await;
        assert_eq!(far.calls(), [Reserve(WINDOW, 255), Refuse(WINDOW, 255), Reserve(WINDOW, 255)]);
        for (near, far) in [first, third] {
            let (echoed, received) = futures::join!(echo(far), exchange(near, b"alive"));
            assert_eq!((echoed.unwrap(), received.unwrap().as_slice()), (5, &b"alive"[..]));
        }
        settle(&client, &server).await;
        far.assert_balanced();
    });
}

// A refusal with a body under way: what comes for it is thrown away, and the frames behind it are read.
#[test]
fn the_body_of_a_refused_stream_is_discarded() {
    run(async {
        let memory = Recorder::granting(|n, _, _| n > 0);
        let (near, far) = pipe(1 << 20);
        let (server, mut peer) = (Node::server(near, config(memory.clone())), Peer::new(far));
        peer.send_data(1, Flags::SYN, &[1; 100_000]).await;
        peer.send_data(1, Flags::FIN, &[2; 100_000]).await;
        peer.send_data(3, Flags::SYN, b"good").await;
        peer.expect(update(1, Flags::RST, 0x1002)).await;
        let mut stream = server.accept().await.unwrap();
        assert_eq!(stream.id(), 3);
        let mut read = [0; 4];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"good");
    });
}

#[test]
fn y_mem_1_an_outbound_stream_that_is_refused_harms_nobody() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(WINDOW));
        let (client, server) = pair(config(budget.clone()), Config::default(), 4096);
        let (near, far) = stream(&client, &server).await;
        for _ in 0..2 {
            match client.open().await {
                Err(OpenError::Refused(refused)) => assert_eq!(refused.bytes(), WINDOW),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((budget.reserved(), client.num_streams().await), (WINDOW, 1));
        let (echoed, received) = futures::join!(echo(far), exchange(near, b"alive"));
        assert_eq!((echoed.unwrap(), received.unwrap().as_slice()), (5, &b"alive"[..]));
        assert_eq!(budget.reserved(), 0);
        // Every place of the backlog is there, too.
        assert_eq!(client.open().await.unwrap().id(), 3);
    });
}

/// Whoever opens waits for the connection, and that for memory.
fn drive(connection: &mut Connection<Pipe>) {
    for _ in 0..4 {
        let _ = connection.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// A connection without a task. Somebody else has all the memory there is.
fn starved() -> (Arc<Watched>, Connection<Pipe>, Pipe) {
    let memory = Watched::new(WINDOW);
    memory.reserve(WINDOW, Priority::ALWAYS).unwrap();
    let config = quiet().memory(memory.clone()).refused_open(RefusedOpen::Wait).build().unwrap();
    let (near, far) = pipe(4096);
    (memory, Connection::new(near, config, Mode::Client), far)
}

#[test]
fn an_open_that_waits_for_memory_is_woken_when_some_is_released() {
    let (memory, mut connection, _far) = starved();
    let (counter, waker) = Counter::new();
    let cx = &mut Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(connection.poll_outbound(cx).is_pending());
        drive(&mut connection);
        assert_eq!((memory.limit.reserved(), memory.waiting(), counter.count()), (WINDOW, 1, 0));
    }
    memory.release(WINDOW);
    drive(&mut connection);
    assert_eq!(counter.count(), 1);
    match connection.poll_outbound(cx) {
        Poll::Ready(Ok(stream)) => assert_eq!((stream.id(), memory.limit.reserved()), (1, WINDOW)),
        other => panic!("{other:?}"),
    }
    assert_eq!((memory.limit.reserved(), memory.waiting(), connection.num_streams()), (0, 0, 0));
}

// Through libp2p it waits whatever the setting: an error would end the connection.
#[cfg(feature = "libp2p")]
#[test]
fn an_open_through_libp2p_waits_for_memory_under_every_setting() {
    use libp2p::core::muxing::StreamMuxer;
    use std::pin::Pin;
    for choice in [RefusedOpen::Fail, RefusedOpen::Wait] {
        let memory = Watched::new(WINDOW);
        memory.reserve(WINDOW, Priority::ALWAYS).unwrap();
        let config = quiet().memory(memory.clone()).refused_open(choice).build().unwrap();
        let (near, _far) = pipe(4096);
        let mut connection = Connection::new(near, config, Mode::Client);
        let (counter, waker) = Counter::new();
        let cx = &mut Context::from_waker(&waker);
        assert!(StreamMuxer::poll_outbound(Pin::new(&mut connection), cx).is_pending());
        drive(&mut connection);
        memory.release(WINDOW);
        drive(&mut connection);
        assert_eq!(counter.count(), 1);
        assert!(StreamMuxer::poll_outbound(Pin::new(&mut connection), cx).is_ready());
    }
}

// Memory that somebody else was quicker to take is waited for again.
#[test]
fn an_open_that_comes_too_late_for_released_memory_waits_on() {
    let (memory, mut connection, _far) = starved();
    let (counter, waker) = Counter::new();
    let cx = &mut Context::from_waker(&waker);
    assert!(connection.poll_outbound(cx).is_pending());
    drive(&mut connection);
    memory.release(WINDOW);
    memory.reserve(1, Priority::ALWAYS).unwrap();
    drive(&mut connection);
    assert!(connection.poll_outbound(cx).is_pending());
    drive(&mut connection);
    assert_eq!((counter.count(), memory.waiting()), (1, 1));
    memory.release(1);
    drive(&mut connection);
    assert_eq!(counter.count(), 2);
    assert!(connection.poll_outbound(cx).is_ready());
}

#[test]
fn giving_up_an_open_that_waits_leaves_nothing_behind() {
    let (memory, mut connection, _far) = starved();
    assert!(connection.poll_outbound(&mut Context::from_waker(Waker::noop())).is_pending());
    drive(&mut connection);
    assert_eq!((connection.num_streams(), memory.limit.reserved()), (0, WINDOW));
    memory.release(WINDOW);
    drive(&mut connection);
    // Nobody asks again: nothing is taken.
    assert_eq!((connection.num_streams(), memory.limit.reserved()), (0, 0));
    drop(connection);
    assert_eq!((memory.limit.reserved(), memory.waiting()), (0, 0));
}

#[test]
fn an_open_that_waits_for_memory_fails_with_the_connection() {
    run(async {
        let memory = Watched::new(WINDOW);
        let waiting = quiet().memory(memory.clone()).refused_open(RefusedOpen::Wait).build().unwrap();
        let (client, server) = pair(waiting, Config::default(), 4096);
        let (_near, _far) = stream(&client, &server).await;
        let mut next = Box::pin(client.open());
        assert!(futures::poll!(next.as_mut()).is_pending());
        settle(&client, &server).await;
        server.call(|connection| connection.close_with(5)).await;
        match next.await {
            Err(OpenError::Connection(ConnectionError::GoAway { by: Side::Remote, code: 5 })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!((memory.limit.reserved(), memory.waiting()), (0, 0));
    });
}

#[test]
fn opening_is_retried_by_timer_where_the_manager_cannot_tell() {
    run(async {
        let memory = Arc::new(Mute(MemoryLimit::new(WINDOW)));
        let waiting = quiet().memory(memory.clone()).refused_open(RefusedOpen::Wait).build().unwrap();
        let (client, server) = pair(waiting, Config::default(), 4096);
        let first = stream(&client, &server).await;
        let mut next = Box::pin(client.open());
        assert!(futures::poll!(next.as_mut()).is_pending());
        let before = Instant::now();
        drop(first);
        assert_eq!(next.await.unwrap().id(), 3);
        assert!(before.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn y_mem_1_a_larger_first_window_is_reserved_before_announced() {
    const LARGE: u32 = 1 << 20;
    let rows = [
        // (limit, delta, calls)
        (LARGE, LARGE - FIRST, vec![Reserve(LARGE as usize, 255)]),
        (LARGE - 1, 0, vec![Refuse(LARGE as usize, 255), Reserve(WINDOW, 255)]),
    ];
    for (limit, delta, calls) in rows {
        run(async {
            let config = |memory| quiet().initial_stream_window(LARGE).memory(memory).build().unwrap();
            let memory = Recorder::granting(move |_, bytes, _| bytes <= limit as usize);
            let (near, far) = pipe(4096);
            let (client, mut peer) = (Node::client(near, config(memory.clone())), Peer::new(far));
            let mut stream = client.open().await.unwrap();
            assert_eq!(memory.calls(), calls);
            stream.flush().await.unwrap();
            peer.expect(update(1, Flags::SYN, delta)).await;
            peer.send(update(2, Flags::SYN, 0)).await;
            let mut accepted = client.accept().await.unwrap();
            assert_eq!(memory.calls(), calls);
            peer.expect(update(2, Flags::ACK, delta)).await;
            // What was granted is taken, and not a byte more.
            let window = FIRST + delta;
            let sent = pattern(0, window as usize);
            for id in [1, 2] {
                peer.send_data(id, Flags::NONE, &sent).await;
            }
            peer.expect_silence().await;
            peer.send(data(1, Flags::NONE, 1)).await;
            for stream in [&mut stream, &mut accepted] {
                let (received, error) = read_to_error(stream).await;
                assert!(received == sent);
                let expected = Violation::WindowExceeded { stream: 1, len: 1, credit: 0 };
                assert_eq!(violation(lost(&error)), expected);
            }
        });
    }
}

#[test]
fn one_budget_serves_several_connections() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(4 * WINDOW));
        let pairs = [(); 2].map(|()| pair(config(budget.clone()), config(budget.clone()), 4096));
        let mut streams = Vec::new();
        for (client, server) in &pairs {
            // Two windows each, one at either end.
            streams.push(stream(client, server).await);
        }
        assert_eq!((budget.reserved(), budget.peak()), (4 * WINDOW, 4 * WINDOW));
        for (client, server) in &pairs {
            assert!(matches!(client.open().await, Err(OpenError::Refused(_))));
            assert!(matches!(server.open().await, Err(OpenError::Refused(_))));
        }
        // What one gives back the other can have.
        drop(streams.pop());
        settle(&pairs[1].0, &pairs[1].1).await;
        assert_eq!(budget.reserved(), 2 * WINDOW);
        let _moved = stream(&pairs[0].0, &pairs[0].1).await;
        assert!(matches!(pairs[1].1.open().await, Err(OpenError::Refused(_))));
    });
}
