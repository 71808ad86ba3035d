//! Budgets inside budgets: what one connection takes leaves room for the others.

use crate::support::node::Node;
use crate::support::pair::{WINDOW, pair, settle, stream};
use crate::support::peer::{Peer, ping, pong, update};
use crate::support::{Pipe, pipe, quiet, run};
use sluicegate::memory::{MemoryScope, Unlimited};
use sluicegate::wire::{Flags, Header};
use sluicegate::{Config, MemoryLimit, MemoryManager, OpenError, Priority, RefusedOpen};
use std::sync::Arc;

fn config(memory: impl MemoryManager) -> Config {
    quiet().memory(Arc::new(memory)).build().expect("valid")
}

async fn greeted(config: &Config) -> (Node<Pipe>, Peer<Pipe>) {
    let (near, far) = pipe(1 << 16);
    let (node, mut peer) = (Node::client(near, config.clone()), Peer::new(far));
    peer.greet().await;
    (node, peer)
}

/// Opens a hundred streams; says how many of them are open then.
async fn opened(node: &Node<Pipe>, peer: &mut Peer<Pipe>) -> u64 {
    for stream in 1..=100 {
        peer.feed(update(2 * stream, Flags::SYN, 0)).await;
    }
    peer.send(ping(1)).await;
    while peer.next_header().await != pong(1) {}
    let streams = node.call(|connection| connection.stats().streams.open).await;
    // What is owed for those that were refused is behind the pong.
    for _ in streams..100 {
        assert!(matches!(peer.next_header().await, Header::WindowUpdate { flags: Flags::RST, .. }));
    }
    streams
}

#[test]
fn a_connection_has_its_own_limit_inside_the_nodes() {
    run(async {
        let node = Arc::new(MemoryLimit::new(5 * WINDOW));
        let scope = MemoryScope::new(usize::MAX, node.clone()).per_connection(2 * WINDOW);
        let config = config(scope.clone());
        let mut peers = Vec::new();
        for expected in [2, 2, 1] {
            let (kept, mut peer) = greeted(&config).await;
            assert_eq!(opened(&kept, &mut peer).await, expected);
            peers.push((kept, peer));
        }
        assert_eq!((node.reserved(), scope.reserved()), (5 * WINDOW, 5 * WINDOW));
        drop(peers);
        while node.reserved() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(scope.reserved(), 0);
    });
}

#[test]
fn a_scope_inside_one_that_limits_connections_limits_them_too() {
    run(async {
        let node = Arc::new(MemoryLimit::new(10 * WINDOW));
        let strangers = Arc::new(MemoryScope::new(usize::MAX, node.clone()).per_connection(2 * WINDOW));
        // One group of them, with no limit for a connection of its own.
        let config = config(MemoryScope::new(3 * WINDOW, strangers.clone()));
        let mut peers = Vec::new();
        for expected in [2, 1] {
            let (kept, mut peer) = greeted(&config).await;
            assert_eq!(opened(&kept, &mut peer).await, expected);
            peers.push((kept, peer));
        }
        assert_eq!((node.reserved(), strangers.reserved()), (3 * WINDOW, 3 * WINDOW));
        drop(peers);
        while node.reserved() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_flood_on_one_connection_leaves_room_for_the_others() {
    run(async {
        let scope = MemoryScope::new(100 * WINDOW, Arc::new(Unlimited)).fair();
        let config = config(scope.clone());
        let (flooded, mut hostile) = greeted(&config).await;
        // One alone gets four fifths.
        assert_eq!(opened(&flooded, &mut hostile).await, 80);
        let (client, server) = pair(config.clone(), quiet().build().expect("valid"), 1 << 16);
        let mut streams = Vec::new();
        for _ in 0..16 {
            streams.push(stream(&client, &server).await);
        }
        // Four fifths of what was left; the flood gets nothing of it.
        assert!(matches!(client.open().await, Err(OpenError::Refused(_))));
        assert_eq!(scope.reserved(), 96 * WINDOW);
        hostile.send(update(1000, Flags::SYN, 0)).await;
        hostile.expect(update(1000, Flags::RST, 0)).await;
    });
}

#[test]
fn an_open_that_waits_gets_what_another_connection_releases() {
    run(async {
        let scope = MemoryScope::new(2 * WINDOW, Arc::new(MemoryLimit::new(10 * WINDOW))).per_connection(2 * WINDOW);
        let waiting = quiet().memory(Arc::new(scope.clone())).refused_open(RefusedOpen::Wait).build().expect("valid");
        let (one, other) = (
            pair(waiting.clone(), quiet().build().expect("valid"), 4096),
            pair(waiting, quiet().build().expect("valid"), 4096),
        );
        let first = stream(&one.0, &one.1).await;
        let _second = stream(&one.0, &one.1).await;
        let mut third = Box::pin(other.0.open());
        assert!(crate::support::outcome::waits(&other.0, &mut third).await);
        drop(first);
        settle(&one.0, &one.1).await;
        let third = third.await.expect("there is memory again");
        assert_eq!(scope.reserved(), 2 * WINDOW);
        third.set_priority(Priority::LOW);
    });
}
