//! Pantry: whether anybody listens to events of a level.
//!
//! Owns the one question about `tracing` that may be asked under a connection's lock: it is one load, and no code of a
//! subscriber's. What there is to say is noted there, and said when the lock is open.

use tracing::Level;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

/// The target of every event.
pub(crate) const TARGET: &str = "sluicegate";

/// Whether `debug` events go anywhere.
pub(crate) fn is_debug_on() -> bool {
    is_on(Level::DEBUG)
}

/// Whether `trace` events go anywhere.
pub(crate) fn is_trace_on() -> bool {
    is_on(Level::TRACE)
}

fn is_on(level: Level) -> bool {
    level <= STATIC_MAX_LEVEL && level <= LevelFilter::current()
}
