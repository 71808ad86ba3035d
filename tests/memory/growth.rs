//! Windows that grow, and memory that is held for as long as there are bytes to read.

use crate::support::manager::Call::{Refuse, Release, Reserve};
use crate::support::manager::{BOOKS, Call, Recorder};
use crate::support::node::Node;
use crate::support::pair::*;
use crate::support::peer::{Peer, update};
use crate::support::{pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::Flags;
use sluicegate::{Config, MemoryLimit, MemoryManager, Priority};
use std::sync::Arc;
use std::time::Duration;

/// One way of a link on which a window is worth growing.
const DELAY: Duration = Duration::from_millis(20);
const MAX: u32 = 1 << 20;
const SENT: usize = 4 << 20;

fn config(memory: Arc<dyn MemoryManager>) -> Config {
    quiet().memory(memory).max_stream_window(MAX).max_send_buffer(65_536).build().unwrap()
}

/// Sends a lot over a long link to a reader that takes all it gets, and gives what its memory manager was asked.
async fn transfer(memory: &Arc<Recorder>, priority: Option<Priority>) -> Vec<Call> {
    let (near, far) = slow(DELAY);
    let (client, server) = (Node::client(near, Config::default()), Node::server(far, config(memory.clone())));
    // Both round trip times are known.
    settle(&client, &server).await;
    let (mut near, mut far) = stream(&client, &server).await;
    if let Some(priority) = priority {
        far.set_priority(priority);
    }
    let sent = pattern(0, SENT);
    let write = async {
        near.write_all(&sent).await.unwrap();
        near.close().await.unwrap();
    };
    let mut received = Vec::new();
    let (read, ()) = futures::join!(far.read_to_end(&mut received), write);
    read.unwrap();
    assert!(received == sent);
    let calls = memory.calls();
    // What the stream itself takes follows with its end.
    drop(far);
    settle(&client, &server).await;
    assert_eq!(memory.calls(), [Release(BOOKS)]);
    calls
}

/// What was asked for before the peer finished, and what is given back from then on, as what is unread is read.
fn until_its_end(calls: &[Call]) -> (&[Call], usize) {
    let is_release = |call: &Call| matches!(call, Release(_));
    let (before, after) = calls.split_at(calls.iter().position(is_release).expect("its end"));
    let released = |call: &Call| if let Release(bytes) = call { *bytes } else { panic!("{call:?} after its end") };
    (before, after.iter().map(released).sum())
}

#[test]
fn y_mem_2_windows_grow_at_the_streams_priority_to_their_maximum() {
    for priority in [None, Some(Priority::LOW), Some(Priority::new(7))] {
        run(async {
            let memory = Recorder::new();
            let calls = transfer(&memory, priority).await;
            let expected = priority.unwrap_or_default().value();
            let (first, grown) = calls.split_first().expect("a stream");
            assert_eq!(*first, Reserve(WINDOW, 255));
            let (grown, released) = until_its_end(grown);
            let growths: Vec<_> = grown
                .iter()
                .map(|call| match call {
                    Reserve(bytes, priority) if *priority == expected => *bytes,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert!(!growths.is_empty());
            let size = WINDOW + growths.iter().sum::<usize>();
            assert_eq!(released, size - BOOKS);
            assert!(size <= MAX as usize, "{size}");
            memory.assert_balanced();
        });
    }
}

#[test]
fn y_mem_2_a_refused_growth_keeps_the_window() {
    run(async {
        let memory = Recorder::granting(|_, _, priority| priority == Priority::ALWAYS);
        let calls = transfer(&memory, None).await;
        assert_eq!(calls[0], Reserve(WINDOW, 255));
        let (refused, released) = until_its_end(&calls[1..]);
        assert_eq!(released, WINDOW - BOOKS);
        assert!(!refused.is_empty() && refused.iter().all(|call| matches!(call, Refuse(_, 152))), "{refused:?}");
        assert_eq!(memory.highest(), WINDOW as i64);
        memory.assert_balanced();
    });
}

#[test]
fn y_mem_4_unread_bytes_after_both_fins_stay_reserved() {
    for read in [true, false] {
        run(async {
            let budget = Arc::new(MemoryLimit::new(8 * WINDOW));
            let (client, server) = pair(Config::default(), config(budget.clone()), 4096);
            let (mut near, mut far) = stream(&client, &server).await;
            let sent = pattern(0, 200_000);
            near.write_all(&sent).await.unwrap();
            near.close().await.unwrap();
            far.close().await.unwrap();
            settle(&client, &server).await;
            // In blocks of 8 KiB, but for the first few.
            let blocks = budget.reserved();
            assert!((200_000..=200_000 + 2 * 8192).contains(&blocks) && server.num_streams().await == 0, "{blocks}");
            if read {
                let mut received = vec![0; 100_000];
                far.read_exact(&mut received).await.unwrap();
                let blocks = budget.reserved();
                assert!((100_000..=100_000 + 2 * 8192).contains(&blocks), "{blocks}");
                far.read_to_end(&mut received).await.unwrap();
                assert!(received == sent);
                assert_eq!(budget.reserved(), 0);
            }
            drop(far);
            assert_eq!(budget.reserved(), 0);
        });
    }
}

// The same where it is not a FIN that ends the stream, and where what is unread is no longer in the connection's hands.
#[test]
fn y_mem_4_unread_bytes_after_a_reset_or_loss_stay_reserved() {
    for (connection_ends, sent, read) in
        [(true, 100_000, 0), (false, 100_000, 0), (true, 50_000, 1), (false, 50_000, 1)]
    {
        run(async {
            let budget = Arc::new(MemoryLimit::new(8 * WINDOW));
            let (near, far) = pipe(1 << 20);
            let (server, mut peer) = (Node::server(near, config(budget.clone())), Peer::new(far));
            peer.send(update(1, Flags::SYN, 0)).await;
            let mut stream = server.accept().await.unwrap();
            peer.expect(update(1, Flags::ACK, 0)).await;
            let sent = pattern(0, sent);
            peer.send_data(1, Flags::NONE, &sent).await;
            peer.expect_silence().await;
            let mut received = vec![0; read];
            stream.read_exact(&mut received).await.unwrap();
            if connection_ends {
                peer.shut().await;
                server.ended().await.unwrap_err();
            } else {
                peer.send(update(1, Flags::RST, 0)).await;
                peer.expect_silence().await;
            }
            let (unread, blocks) = (sent.len() - read, budget.reserved());
            assert!((unread..=unread + 2 * 8192).contains(&blocks) && server.num_streams().await == 0, "{blocks}");
            stream.read_to_end(&mut received).await.unwrap_err();
            assert!(received == sent);
            assert_eq!(budget.reserved(), 0);
        });
    }
}

// Closing the read half, or resetting, drops what is buffered and the memory with it.
#[test]
fn y_flow_10_nothing_is_held_for_a_half_that_nobody_reads() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(8 * WINDOW));
        let (client, server) = pair(Config::default(), config(budget.clone()), 4096);
        for reset in [true, false] {
            let (mut near, mut far) = stream(&client, &server).await;
            near.write_all(&pattern(0, 100_000)).await.unwrap();
            near.flush().await.unwrap();
            settle(&client, &server).await;
            assert_eq!(budget.reserved(), WINDOW);
            if reset {
                far.reset(1);
            } else {
                far.close_read();
                near.write_all(&pattern(0, 4 * WINDOW)).await.unwrap();
            }
            assert_eq!(budget.reserved(), BOOKS);
            settle(&client, &server).await;
            // One that is only written to is still there.
            assert_eq!(budget.reserved(), if reset { 0 } else { BOOKS });
            drop((near, far));
            settle(&client, &server).await;
            assert_eq!(budget.reserved(), 0);
        }
    });
}

// Y-MEM-5: what writers queue beyond the fixed part is reserved at their priority, and given back with the connection.
#[test]
fn y_mem_5_send_buffers_are_reserved_at_the_writers_priority() {
    run(async {
        let memory = Recorder::new();
        let config = quiet().memory(memory.clone()).default_priority(Priority::HIGH).max_send_buffer(131_072);
        let (near, _far) = pipe(64);
        let client = Node::client(near, config.build().unwrap());
        let mut stream = client.open().await.unwrap();
        assert_eq!(memory.calls(), [Reserve(WINDOW, 255)]);
        let mut written = 0;
        while let std::task::Poll::Ready(result) = futures::poll!(stream.write(&[0; 1024])) {
            written += result.unwrap();
        }
        assert_eq!(memory.calls(), [Reserve(65_536, 203)]);
        // More than a writer gets of the fixed part, and no more than its share of the whole.
        let share = 131_072 * 204 / 256;
        assert!((65_536 * 204 / 256 / 2 + 1..=share).contains(&written), "{written}");
        client.task.abort();
        stream.write(&[0]).await.unwrap_err();
        drop(stream);
        memory.assert_balanced();
    });
}

// A refused send buffer makes the writer wait for the transport, not fail.
#[test]
fn y_mem_5_a_refused_send_buffer_slows_the_writer_down() {
    run(async {
        let memory = Recorder::granting(|_, _, priority| priority == Priority::ALWAYS);
        let config = quiet().memory(memory.clone()).max_send_buffer(1 << 20).build().unwrap();
        let (client, server) = pair(config, Config::default(), 4096);
        let (near, far) = stream(&client, &server).await;
        let sent = pattern(0, 1 << 20);
        let (echoed, received) = futures::join!(echo(far), exchange(near, &sent));
        echoed.unwrap();
        assert!(received.unwrap() == sent);
        assert_eq!(memory.highest(), WINDOW as i64);
        memory.assert_balanced();
    });
}
