//! What is decided without the lock, against others who change what it was decided on; and calls that are kept and not
//! polled. Nobody may need an alarm to be woken.

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use shuttle::future::spawn;
use sluicegate::wire::Flags;
use sluicegate::{MemoryLimit, Mode, Priority, ReceiveCharge, RefusedOpen, Session, Stream};
use sluicegate_schedules::{Node, Peer, WINDOW, explore, settings};
use std::sync::Arc;

/// A first poll, after which the call is kept and nobody polls it. What it may have got is let go.
macro_rules! kept {
    ($call:expr) => {{
        let mut call = Box::pin($call);
        let _ = (&mut call).now_or_never();
        call
    }};
}

async fn accept(session: Session) -> Stream {
    session.accept().await.expect("the connection lives")
}

async fn open(session: Session) -> Stream {
    session.open().await.expect("the connection lives")
}

#[test]
fn y_open_15_an_accept_that_is_not_polled_holds_up_nobody() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Server, 1024, settings());
        let _kept = kept!(accept(node.session.clone()));
        let acceptors = [spawn(accept(node.session.clone())), spawn(accept(node.session.clone()))];
        peer.send_update(1, Flags::SYN, 0).await;
        peer.send_update(3, Flags::SYN, 0).await;
        for acceptor in acceptors {
            drop(acceptor.await.expect("no panic"));
        }
        drop(_kept);
        node.end().await;
    });
}

#[test]
fn y_open_15_an_open_that_is_not_polled_holds_up_nobody_who_waits_for_the_backlog() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings().accept_backlog(1));
        let mut held = open(node.session.clone()).await;
        held.flush().await.expect("it leaves");
        let kept = kept!(open(node.session.clone()));
        let opener = spawn(open(node.session.clone()));
        peer.send_update(1, Flags::ACK, 0).await;
        drop(opener.await.expect("no panic"));
        drop((held, kept));
        node.end().await;
    });
}

/// It is for the open that waits that the stream is announced, whoever polls when.
#[test]
fn y_open_14_an_open_that_waits_has_a_stream_announced() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings().accept_backlog(2));
        let held = [open(node.session.clone()).await, open(node.session.clone()).await];
        let openers = [spawn(open(node.session.clone())), spawn(open(node.session.clone()))];
        for id in [1, 3] {
            peer.hear(|peer| peer.of(id).flags.contains(Flags::SYN)).await;
            peer.send_update(id, Flags::ACK, 0).await;
        }
        for opener in openers {
            drop(opener.await.expect("no panic"));
        }
        drop(held);
        node.end().await;
    });
}

#[test]
fn y_open_15_an_open_that_is_not_polled_holds_up_nobody_who_waits_for_memory() {
    explore(|| async {
        let budget = Arc::new(MemoryLimit::new(WINDOW));
        let settings = settings().refused_open(RefusedOpen::Wait);
        let (node, _peer) = Node::sharing(budget.clone(), Mode::Client, 1024, settings);
        let held = open(node.session.clone()).await;
        let kept = kept!(open(node.session.clone()));
        let opener = spawn(open(node.session.clone()));
        let dropper = spawn(async move { drop(held) });
        drop(opener.await.expect("no panic"));
        dropper.await.expect("no panic");
        drop(kept);
        node.end().await;
    });
}

/// It is another connection that waits for the same memory.
#[test]
fn y_open_15_an_open_that_is_given_up_leaves_the_memory_to_others() {
    explore(|| async {
        let budget = Arc::new(MemoryLimit::new(WINDOW));
        let settings = settings().refused_open(RefusedOpen::Wait);
        let session = || Node::sharing(budget.clone(), Mode::Client, 1024, settings.clone());
        let ((one, _near), (other, _far)) = (session(), session());
        let held = open(one.session.clone()).await;
        let given_up = kept!(open(one.session.clone()));
        let opener = spawn(open(other.session.clone()));
        drop(given_up);
        let dropper = spawn(async move { drop(held) });
        drop(opener.await.expect("no panic"));
        dropper.await.expect("no panic");
        Node::end_all([one, other]).await;
    });
}

/// The driver waits for a transport that is full, and for memory as well.
#[test]
fn y_open_15_memory_is_waited_for_while_the_transport_is_full() {
    explore(|| async {
        let budget = Arc::new(MemoryLimit::new(2 * WINDOW));
        let settings = settings().refused_open(RefusedOpen::Wait);
        let session = || Node::sharing(budget.clone(), Mode::Client, 24, settings.clone());
        let ((full, mut peer), (other, _far)) = (session(), session());
        let mut writing = open(full.session.clone()).await;
        let held = open(other.session.clone()).await;
        writing.write_all(&[1; 1024]).await.expect("it is taken");
        let opener = spawn(open(full.session.clone()));
        let dropper = spawn(async move { drop(held) });
        drop(opener.await.expect("no panic"));
        dropper.await.expect("no panic");
        peer.hear(|peer| peer.of(1).bytes.len() == 1024).await;
        drop(writing);
        Node::end_all([full, other]).await;
    });
}

#[test]
fn y_open_15_a_ping_that_is_not_polled_holds_up_nobody() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings());
        let session = node.session.clone();
        let kept = kept!(async move { session.ping().await });
        let session = node.session.clone();
        let pinger = spawn(async move { session.ping().await });
        let answering = spawn(async move { peer.hear(|peer| peer.end == sluicegate_schedules::End::Heard).await });
        pinger.await.expect("no panic").expect("answered");
        drop(kept);
        node.end().await;
        answering.await.expect("no panic");
    });
}

/// Of a budget of 400 KiB, of which so much is held by another connection: LOW may fill 159 KiB, MEDIUM 239, HIGH 319.
async fn holding(budget: &Arc<MemoryLimit>) -> (Node, Peer, Stream) {
    let settings = settings().receive_charge(ReceiveCharge::Buffered);
    let (node, mut peer) = Node::sharing(budget.clone(), Mode::Server, 2 * WINDOW, settings);
    peer.send_update(1, Flags::SYN, 0).await;
    peer.send_data(1, Flags::NONE, &[1; WINDOW / 2]).await;
    let held = node.session.accept().await.expect("it has been opened");
    peer.settle().await;
    (node, peer, held)
}

/// A stream that both ends know of.
async fn accepted(node: &Node, peer: &mut Peer, id: u32, priority: Priority) -> Stream {
    peer.send_update(id, Flags::SYN, 0).await;
    let stream = node.session.accept().await.expect("it has been opened");
    stream.set_priority(priority);
    peer.hear(|peer| peer.of(id).flags.contains(Flags::ACK)).await;
    stream
}

async fn read(mut stream: Stream) -> Stream {
    stream.read_exact(&mut vec![0; WINDOW / 2]).await.expect("it arrives");
    stream
}

/// The priority changes between any two steps of a driver that asks for credit, is refused, and goes to sleep.
#[test]
fn y_prio_1_a_priority_that_changes_while_credit_is_asked_for_counts() {
    explore(|| async {
        let budget = Arc::new(MemoryLimit::new(400 * 1024));
        let (holding, _near, held) = holding(&budget).await;
        let settings = settings().receive_charge(ReceiveCharge::Buffered);
        let (waiting, mut far) = Node::sharing(budget.clone(), Mode::Server, 2 * WINDOW, settings);
        let stream = accepted(&waiting, &mut far, 1, Priority::LOW).await;
        let reader = spawn(async move {
            let stream = read(stream).await;
            stream.set_priority(Priority::HIGH);
            stream
        });
        far.send_data(1, Flags::NONE, &[1; WINDOW / 2]).await;
        // Nothing is released: it is for the priority alone that there is room.
        far.hear(|peer| peer.of(1).credit as usize == WINDOW / 2).await;
        drop(held);
        drop(reader.await.expect("no panic"));
        far.hear(|peer| peer.of(1).flags.contains(Flags::FIN)).await;
        Node::end_all([holding, waiting]).await;
    });
}

/// The most urgent of two that wait for credit ends or needs none any more, and memory is released.
#[test]
fn y_mem_10_whoever_is_next_in_line_has_its_turn_when_the_first_leaves_it() {
    let leave: [fn(&mut Option<Stream>); 4] = [
        |stream| drop(stream.take()),
        |stream| stream.iter_mut().for_each(|stream| stream.reset(0)),
        |stream| stream.iter_mut().for_each(Stream::close_read),
        |stream| stream.iter_mut().for_each(|stream| stream.set_priority(Priority::new(1))),
    ];
    for leaves in leave {
        explore(move || async move {
            // While half a window is held, what LOW may fill is less than another half; all that arrives fits.
            let budget = Arc::new(MemoryLimit::new(600 * 1024));
            let (holding, _near, held) = holding(&budget).await;
            let settings = settings().receive_charge(ReceiveCharge::Buffered);
            let (waiting, mut far) = Node::sharing(budget.clone(), Mode::Server, 4 * WINDOW, settings);
            let first = accepted(&waiting, &mut far, 1, Priority::LOW).await;
            let second = accepted(&waiting, &mut far, 3, Priority::new(95)).await;
            let readers = [
                spawn(async move {
                    let mut first = Some(read(first).await);
                    leaves(&mut first);
                    first
                }),
                spawn(async move { Some(read(second).await) }),
            ];
            let dropper = spawn(async move { drop(held) });
            far.send_data(1, Flags::NONE, &[1; WINDOW / 2]).await;
            far.send_data(3, Flags::NONE, &[1; WINDOW / 2]).await;
            far.hear(|peer| peer.of(3).credit as usize == WINDOW / 2).await;
            dropper.await.expect("no panic");
            for reader in readers {
                drop(reader.await.expect("no panic"));
            }
            far.hear(|peer| peer.of(3).flags.contains(Flags::FIN)).await;
            far.settle().await;
            Node::end_all([holding, waiting]).await;
        });
    }
}

/// Reading waits for whoever accepts, with more to be read and nothing to be sent.
#[test]
fn y_open_13_an_accept_is_seen_by_a_driver_that_waits_for_it() {
    const STREAMS: u32 = 6;
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Server, 1024, settings().accept_backlog(2));
        let session = node.session.clone();
        let acceptor = spawn(async move {
            let mut streams = Vec::new();
            for _ in 0..STREAMS {
                streams.push(session.accept().await.expect("the connection lives"));
            }
            streams
        });
        for id in (1..2 * STREAMS).step_by(4) {
            // With the second one the backlog is full; what comes next is not to be refused.
            peer.send_update(id, Flags::SYN, 0).await;
            peer.send_update(id + 2, Flags::SYN, 0).await;
            peer.hear(|peer| [id, id + 2].iter().all(|id| peer.of(*id).flags.contains(Flags::ACK))).await;
        }
        drop(acceptor.await.expect("no panic"));
        node.end().await;
    });
}

/// Each waits for room in its own bucket, and for what the others leave of it.
#[test]
fn y_mem_6_writers_of_all_buckets_get_room() {
    const LEN: usize = 40 * 1024;
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 64 * 1024, settings());
        let mut writers = Vec::new();
        for priority in [Priority::LOW, Priority::MEDIUM, Priority::HIGH] {
            let mut stream = open(node.session.clone()).await;
            stream.set_priority(priority);
            writers.push(spawn(async move {
                stream.write_all(&[1; LEN]).await.expect("it is taken");
                stream
            }));
        }
        peer.hear(|peer| [1, 3, 5].iter().all(|id| peer.of(*id).bytes.len() == LEN)).await;
        for writer in writers {
            drop(writer.await.expect("no panic"));
        }
        node.end().await;
    });
}
