//! Owns [`NodeStats`]: the figures of all connections of a node, those that are gone included.

use super::ConnectionStats;
use crate::sync::{PoisonError, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use web_time::Instant;

/// Where the figures of one connection come from.
pub(crate) trait Source: Send + Sync {
    /// The time by the connection's clock, which may be a user's: not to be asked under a lock.
    fn now(&self) -> Instant;

    /// The figures as they are at that time. Runs no code but ours.
    fn stats_at(&self, now: Instant) -> ConnectionStats;

    /// The figures as they are now.
    fn stats(&self) -> ConnectionStats {
        self.stats_at(self.now())
    }
}

/// The figures of every connection that is made with a [`Config`](crate::Config).
///
/// Clones are handles on the same figures. Give one to [`ConfigBuilder::stats`](crate::ConfigBuilder::stats) and ask
/// another: this is how to see into connections that a `Swarm` holds. A connection counts until it is dropped; then
/// what it has counted stays in the total, and what its streams have reserved for as long as that is held. Connections pay
/// for this only when they come and go.
///
/// ```
/// let stats = sluicegate::stats::NodeStats::default();
/// let config = sluicegate::Config::builder().stats(stats.clone()).build()?;
/// # drop(config);
/// for (id, connection) in stats.connections() {
///     println!("connection {id}: {} streams, {} bytes reserved", connection.streams.open, connection.reserved.total());
/// }
/// println!("refused in all: {}", stats.total().refusals.incoming());
/// # Ok::<_, sluicegate::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct NodeStats(Arc<RwLock<Connections>>);

#[derive(Default)]
struct Connections {
    living: BTreeMap<u64, Arc<dyn Source>>,
    /// Those that have been dropped while streams of theirs live, and what they had counted by then.
    outlived: BTreeMap<u64, (Weak<dyn Source>, ConnectionStats)>,
    /// What the others have counted.
    gone: ConnectionStats,
}

impl NodeStats {
    /// The figures of all connections added up. Counters never fall. Of the round trips, `rtt` is the longest that any
    /// connection has measured last, and `min_rtt` the shortest.
    pub fn total(&self) -> ConnectionStats {
        // All of them as they are at one moment: whoever goes meanwhile is counted once.
        let (living, outlived, mut total) = {
            let connections = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let outlived = connections.outlived.values();
            let outlived = outlived.map(|(connection, counted)| (connection.upgrade(), counted.clone()));
            (connections.living.clone(), outlived.collect::<Vec<_>>(), connections.gone.clone())
        };
        living.values().for_each(|connection| total.add(&connection.stats()));
        for (connection, counted) in &outlived {
            match connection {
                Some(connection) => total.add(&connection.stats().without_life()),
                None => total.add(counted),
            }
        }
        total
    }

    /// The figures of each connection that has not been dropped, by its [id](crate::Connection::id).
    pub fn connections(&self) -> Vec<(u64, ConnectionStats)> {
        let living = self.0.read().unwrap_or_else(PoisonError::into_inner).living.clone();
        living.iter().map(|(id, connection)| (*id, connection.stats())).collect()
    }

    /// How many connections have not been dropped.
    pub fn num_connections(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).living.len()
    }

    pub(crate) fn enter(&self, id: u64, source: Arc<dyn Source>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).living.insert(id, source);
    }

    /// The connection has been dropped. In one step its counters move over: no total ever misses them.
    pub(crate) fn leave(&self, id: u64) {
        let source = self.0.read().unwrap_or_else(PoisonError::into_inner).living.get(&id).cloned();
        let Some(source) = source else { return };
        let now = source.now();
        let mut connections = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let left = connections.living.remove(&id);
        if left.is_some() {
            connections.outlived.insert(id, (Arc::downgrade(&source), source.stats_at(now).counters()));
        }
        drop(connections);
        // Letting go of the last handle may free memory, which is foreign code: not under the lock.
        drop((left, source));
    }
}

impl NodeStats {
    /// The last stream of a connection that was dropped is gone: its `figures` are final.
    pub(crate) fn settle(&self, id: u64, figures: &ConnectionStats) {
        let mut connections = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if connections.outlived.remove(&id).is_some() {
            connections.gone.add(&figures.clone().counters());
        }
    }
}

impl fmt::Debug for NodeStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeStats").field("connections", &self.num_connections()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{ReservedBytes, StreamCounts};

    struct Fixed(NodeStats, u64);

    impl Drop for Fixed {
        fn drop(&mut self) {
            self.0.settle(self.1, &self.stats());
        }
    }

    impl Source for Fixed {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn stats_at(&self, _: Instant) -> ConnectionStats {
            let streams = StreamCounts { open: 1, opened: 3, ..StreamCounts::default() };
            let reserved = ReservedBytes { low: 10, ..ReservedBytes::default() };
            ConnectionStats { streams, reserved, ..ConnectionStats::default() }
        }
    }

    #[test]
    fn what_was_counted_stays_when_a_connection_goes() {
        let stats = NodeStats::default();
        let figures = |stats: &NodeStats| {
            let StreamCounts { open, opened, .. } = stats.total().streams;
            (open, opened, stats.num_connections())
        };
        for id in [1, 2] {
            stats.enter(id, Arc::new(Fixed(stats.clone(), id)));
        }
        assert_eq!(figures(&stats), (2, 6, 2));
        stats.leave(1);
        stats.leave(1);
        assert_eq!(figures(&stats), (1, 6, 1));
        assert_eq!(stats.connections(), [(2, Fixed(NodeStats::default(), 0).stats())]);
        stats.leave(2);
        assert_eq!(figures(&stats), (0, 6, 0));
        assert_eq!(format!("{stats:?}"), "NodeStats { connections: 0, .. }");
    }

    #[test]
    fn y_mem_13_streams_of_a_dropped_connection_still_count() {
        let stats = NodeStats::default();
        let stream = Arc::new(Fixed(stats.clone(), 1));
        stats.enter(1, stream.clone());
        stats.leave(1);
        let figures = |stats: &NodeStats| {
            let ConnectionStats { streams: StreamCounts { open, opened, .. }, reserved, .. } = stats.total();
            (open, opened, reserved.total(), stats.num_connections(), stats.connections().len())
        };
        assert_eq!(figures(&stats), (0, 3, 10, 0, 0));
        drop(stream);
        assert_eq!(figures(&stats), (0, 3, 0, 0, 0));
    }
}
