//! Whether tracing events of a level are enabled.
//!
//! Owns the one use of `tracing` that is allowed with a connection's lock held: it is one load, and no code of a subscriber. Events
//! are recorded there, and emitted after the lock is released.

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
