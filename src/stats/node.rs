//! Owns [`NodeStats`]: the figures of all connections of a node, those that are gone included.

use super::ConnectionStats;
use crate::sync::{PoisonError, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
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
/// what it has counted stays in the total. Connections pay for this only when they come and go.
///
/// ```
/// let stats = sluicegate::NodeStats::default();
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
    /// What the others have counted.
    gone: ConnectionStats,
}

impl NodeStats {
    /// The figures of all connections added up. Counters never fall. Of the round trips, `rtt` is the longest that any
    /// connection has measured last, and `min_rtt` the shortest.
    pub fn total(&self) -> ConnectionStats {
        // Both as they are at one moment: whoever goes meanwhile is counted once.
        let (living, mut total) = {
            let connections = self.0.read().unwrap_or_else(PoisonError::into_inner);
            (connections.living.clone(), connections.gone.clone())
        };
        living.values().for_each(|connection| total.add(&connection.stats()));
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
            connections.gone.add(&source.stats_at(now).counters());
        }
        drop(connections);
        // Letting go of the last handle may free memory, which is foreign code: not under the lock.
        drop((left, source));
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
    use crate::stats::StreamCounts;

    struct Fixed;

    impl Source for Fixed {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn stats_at(&self, _: Instant) -> ConnectionStats {
            let streams = StreamCounts { open: 1, opened: 3, ..StreamCounts::default() };
            ConnectionStats { streams, ..ConnectionStats::default() }
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
            stats.enter(id, Arc::new(Fixed));
        }
        assert_eq!(figures(&stats), (2, 6, 2));
        stats.leave(1);
        stats.leave(1);
        assert_eq!(figures(&stats), (1, 6, 1));
        assert_eq!(stats.connections(), [(2, Fixed.stats())]);
        stats.leave(2);
        assert_eq!(figures(&stats), (0, 6, 0));
        assert_eq!(format!("{stats:?}"), "NodeStats { connections: 0, .. }");
    }
}
