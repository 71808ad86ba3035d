//! Flushing and closing one stream while others keep the connection busy for as long as they like.

use crate::support::node::Node;
use crate::support::peer::{Peer, update};
use crate::support::{Pipe, pipe, quiet, run};
use futures::AsyncWriteExt;
use sluicegate::Priority;
use sluicegate::wire::{Flags, Header};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinHandle;

const MIB: usize = 1 << 20;

/// A peer that takes everything and gives each stream more credit than it will use.
fn glutton(io: Pipe) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut peer = Peer::new(io);
        while let Some((header, _)) = peer.next().await {
            if let Header::WindowUpdate { id, flags: Flags::SYN, .. } = header {
                peer.send(update(id.value(), Flags::ACK, 1 << 30)).await;
            }
        }
    })
}

/// A node whose transport has been blocked and unblocked again and again by four streams that never stop writing, and
/// how many bytes they have written.
async fn busy_node() -> (Node<Pipe>, Arc<AtomicUsize>) {
    let (near, far) = pipe(4096);
    let node = Node::client(near, quiet().build().expect("valid"));
    glutton(far);
    let written = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let (mut stream, written) = (node.open().await.expect("opens"), written.clone());
        tokio::spawn(async move {
            let chunk = [7; 16 * 1024];
            // An end, so that a flush that waits for it is a failure and not a hanging test.
            while written.load(Ordering::Relaxed) < 64 * MIB {
                stream.write_all(&chunk).await.expect("writes");
                written.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        });
    }
    while written.load(Ordering::Relaxed) < 4 * MIB {
        tokio::task::yield_now().await;
    }
    (node, written)
}

/// What the others write meanwhile is at most what was queued before: the send buffer, and a batch or two.
#[test]
fn a_flush_and_a_close_do_not_wait_for_other_streams() {
    for priority in [Priority::MEDIUM, Priority::HIGH] {
        run(async {
            let (node, written) = busy_node().await;
            let mut stream = node.open().await.expect("opens");
            stream.set_priority(priority);
            for _ in 0..3 {
                let before = written.load(Ordering::Relaxed);
                stream.write_all(b"x").await.expect("writes");
                stream.flush().await.expect("flushes");
                let meanwhile = written.load(Ordering::Relaxed) - before;
                assert!(meanwhile < 2 * MIB, "{priority:?}: flushed after {meanwhile} bytes of others");
            }
            let before = written.load(Ordering::Relaxed);
            stream.close().await.expect("closes");
            let meanwhile = written.load(Ordering::Relaxed) - before;
            assert!(meanwhile < 2 * MIB, "{priority:?}: closed after {meanwhile} bytes of others");
        });
    }
}
