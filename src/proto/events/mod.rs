//! Owns [`Events`]: events recorded under the lock of a connection, which the shell acts on after it has released the
//! lock.
//!
//! The core only records them; it calls no waker and no subscriber. Requests to the memory manager are in `flow/requests`,
//! and the shell puts them to it.

pub(in crate::proto) mod notes;

use crate::memory::Reservation;
use crate::proto::key::Key;
use crate::proto::stream::readiness::Readiness;
use notes::Notes;

/// Events that the shell acts on after the lock. Level-triggered: each woken task looks at the state anew.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Streams that became ready for a waiting task.
    pub(crate) ready: Vec<(Key, Readiness)>,
    /// Memory to give back: dropping it calls the memory manager.
    pub(crate) released: Vec<Reservation>,
    /// Notes to log: logging calls a subscriber.
    pub(crate) notes: Notes,
    /// A stream may be accepted now.
    pub(crate) incoming: bool,
    /// A stream may be opened now.
    pub(crate) openable: bool,
    /// A ping of the application may have ended.
    pub(crate) pong: bool,
    /// The driver has work: mostly, frames to send.
    pub(crate) attention: bool,
    /// The driver's timer or the memory that it waits for has changed. The driver must look even while the transport is
    /// full.
    pub(crate) outlook: bool,
}
