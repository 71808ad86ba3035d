//! Streams that are accepted against their arrival, and opened against what they wait for.

use futures::AsyncWriteExt;
use shuttle::future::{JoinHandle, spawn};
use sluicegate::wire::Flags;
use sluicegate::{MemoryLimit, Mode, RefusedOpen, Session, Stream};
use sluicegate_schedules::{Node, WINDOW, explore, settings};
use std::sync::Arc;

async fn accept(session: Session) -> Stream {
    session.accept().await.expect("the connection lives")
}

/// Waits for the streams, and for their ids in order.
async fn all(tasks: [JoinHandle<Stream>; 2]) -> ([Stream; 2], [u32; 2]) {
    let [one, other] = tasks;
    let streams = [one.await.expect("no panic"), other.await.expect("no panic")];
    let mut ids = streams.each_ref().map(Stream::id);
    ids.sort_unstable();
    (streams, ids)
}

#[test]
fn whoever_accepts_gets_the_stream_that_arrives() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Server, 1024, settings());
        let acceptors = [spawn(accept(node.session.clone())), spawn(accept(node.session.clone()))];
        peer.send_update(1, Flags::SYN, 0).await;
        peer.send_update(3, Flags::SYN, 0).await;
        peer.hear(|peer| [1, 3].iter().all(|id| peer.of(*id).flags.contains(Flags::ACK))).await;
        let (streams, accepted) = all(acceptors).await;
        assert_eq!(accepted, [1, 3]);
        drop(streams);
        node.end().await;
    });
}

async fn open(session: Session) -> Stream {
    let mut stream = session.open().await.expect("the connection lives");
    stream.flush().await.expect("it leaves");
    stream
}

#[test]
fn whoever_waits_for_the_backlog_opens_when_a_stream_is_acknowledged() {
    explore(|| async {
        let (node, mut peer) = Node::facing_peer(Mode::Client, 1024, settings().accept_backlog(1));
        let openers = [spawn(open(node.session.clone())), spawn(open(node.session.clone()))];
        for id in [1, 3] {
            peer.hear(|peer| peer.of(id).flags.contains(Flags::SYN)).await;
            assert!(id == 3 || !peer.streams.contains_key(&3), "more streams than the backlog takes");
            peer.send_update(id, Flags::ACK, 0).await;
        }
        let (streams, opened) = all(openers).await;
        assert_eq!(opened, [1, 3]);
        drop(streams);
        node.end().await;
    });
}

/// The memory of one connection is what another one waits for.
#[test]
fn whoever_waits_for_memory_opens_when_it_is_released() {
    explore(|| async {
        let budget = Arc::new(MemoryLimit::new(WINDOW));
        let settings = settings().refused_open(RefusedOpen::Wait);
        let session = || Node::sharing(budget.clone(), Mode::Client, 1024, settings.clone());
        let ((holding, _near), (waiting, _far)) = (session(), session());
        let held = holding.session.open().await.expect("there is memory");
        let dropper = spawn(async move { drop(held) });
        let openers = [spawn(open_unused(waiting.session.clone())), spawn(open_unused(holding.session.clone()))];
        for opener in openers {
            opener.await.expect("no panic");
        }
        dropper.await.expect("no panic");
        Node::end_all([holding, waiting]).await;
        assert_eq!((budget.reserved(), budget.peak()), (0, WINDOW));
    });
}

async fn open_unused(session: Session) {
    drop(session.open().await.expect("there will be memory"));
}
