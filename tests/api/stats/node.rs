//! The figures of a node: of connections that somebody else holds.

use crate::support::line::Line;
use crate::support::node::Node;
use crate::support::pair::{WINDOW, settle, stream};
use crate::support::{pipe, quiet, run};
use futures::AsyncWriteExt;
use sluicegate::memory::Refused;
use sluicegate::stats::{NodeStats, ReservedBytes};
use sluicegate::{MemoryLimit, MemoryManager, Priority};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[test]
fn reserved_bytes_by_bucket_are_what_the_manager_has_granted() {
    run(async {
        let (stats, budget) = (NodeStats::default(), Arc::new(MemoryLimit::new(64 << 20)));
        let config = quiet().stats(stats.clone()).memory(budget.clone()).build().expect("valid");
        let (near, far) = pipe(4096);
        let (near, far) = (Node::client(near, config), Node::server(far, quiet().build().expect("valid")));
        let mut streams = Vec::new();
        for priority in [Priority::LOW, Priority::HIGH, Priority::HIGH, Priority::ALWAYS] {
            let (stream, other) = stream(&near, &far).await;
            assert_eq!(stats.total().reserved.medium, WINDOW);
            stream.set_priority(priority);
            streams.push((stream, other));
        }
        let mut expected = ReservedBytes::default();
        (expected.low, expected.high, expected.always) = (WINDOW, 2 * WINDOW, WINDOW);
        assert_eq!((stats.total().reserved, budget.reserved()), (expected, 4 * WINDOW));
        streams[0].0.grow_receive_window(3 * WINDOW as u32);
        expected.low = 3 * WINDOW;
        assert_eq!((stats.total().reserved, budget.reserved()), (expected, 6 * WINDOW));
        drop(streams);
        settle(&near, &far).await;
        assert_eq!((stats.total().reserved, budget.reserved()), (ReservedBytes::default(), 0));
    });
}

/// A manager whose release panics.
#[derive(Debug)]
struct Fragile;

impl MemoryManager for Fragile {
    fn reserve(&self, _: usize, _: Priority) -> Result<(), Refused> {
        Ok(())
    }

    fn release(&self, _: usize) {
        panic!("as it is meant to");
    }
}

#[test]
fn a_connection_is_gone_also_where_freeing_its_memory_panics() {
    let stats = NodeStats::default();
    let mut line = Line::new(quiet().stats(stats.clone()).memory(Arc::new(Fragile)));
    let [stream] = line.open(Priority::MEDIUM, 0);
    assert_eq!(stats.num_connections(), 1);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(line))).is_err());
    assert_eq!((stats.num_connections(), stats.total().streams.opened), (0, 1));
    drop(stream);
}

#[test]
fn connections_are_seen_while_they_live_and_counted_for_good() {
    run(async {
        let stats = NodeStats::default();
        let config = quiet().stats(stats.clone()).build().expect("valid");
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let (near, far) = pipe(4096);
            nodes.push((Node::client(near, config.clone()), Node::server(far, quiet().build().expect("valid"))));
        }
        let mut opened = Vec::new();
        for (n, (near, far)) in nodes.iter().enumerate() {
            for _ in 0..=n {
                let (mut here, there) = stream(near, far).await;
                here.write_all(b"bytes").await.expect("writes");
                here.flush().await.expect("flushes");
                opened.push((here, there));
            }
        }
        let mut ids = Vec::new();
        for (near, _) in &nodes {
            ids.push(near.call(|connection| connection.id()).await);
        }
        let seen = stats.connections();
        assert!(seen.iter().map(|(id, _)| *id).eq(ids.iter().copied()));
        assert!(seen.iter().map(|(_, connection)| connection.streams.open).eq([1, 2, 3]));
        let total = stats.total();
        assert_eq!((total.streams.open, total.streams.opened, total.sent.data_bytes), (6, 6, 30));
        let (last, _far) = nodes.pop().expect("three");
        last.close().await.expect("closes");
        let total = stats.total();
        assert_eq!((total.streams.open, total.streams.opened, total.sent.data_bytes), (3, 6, 30));
        assert_eq!((stats.num_connections(), stats.connections().len()), (2, 2));
        assert!(stats.total().sent.go_away_frames == 1);
    });
}
