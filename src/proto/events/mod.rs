//! Owns [`Events`]: what has happened under the lock of a connection and is acted on by the shell once the lock is open.
//!
//! The core only sets it; it calls no waker, no memory manager and no subscriber.

pub(in crate::proto) mod notes;

use crate::memory::Reservation;
use crate::proto::key::Key;
use crate::proto::stream::readiness::Readiness;
use notes::Notes;

/// What the shell has to act on, once the lock is open. Level-triggered: each is looked at anew by whoever it wakes.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Streams for which something has happened that somebody waits for.
    pub(crate) ready: Vec<(Key, Readiness)>,
    /// Memory to give back: dropping it calls the memory manager.
    pub(crate) released: Vec<Reservation>,
    /// What there is to log: saying it calls a subscriber.
    pub(crate) notes: Notes,
    /// Look at whether a stream can be accepted.
    pub(crate) incoming: bool,
    /// Look at whether a stream can be opened.
    pub(crate) openable: bool,
    /// Look at the ping.
    pub(crate) pong: bool,
    /// There is something to send.
    pub(crate) attention: bool,
    /// What the driver waits for besides is another thing now: until when, or for which memory. It has to know also
    /// while the transport takes nothing.
    pub(crate) outlook: bool,
}
