//! Owns the words of the events: says what the core has noted. A subscriber is foreign code, so this is never under the lock.

use crate::logging::TARGET;
use crate::proto::{Note, Notes};

/// Says what has happened on a connection, in that order. Where several tasks work on it at once, what one of them has
/// done may be said behind what another one did a moment later.
pub(super) fn say(connection: u64, notes: Notes) {
    notes.into_iter().for_each(|note| match note {
        Note::Received(header) => tracing::trace!(target: TARGET, connection, ?header, "received"),
        Note::Sent(header) => tracing::trace!(target: TARGET, connection, ?header, "sent"),
        Note::Refused { stream, code } => {
            tracing::debug!(target: TARGET, connection, %stream, code, "refused an inbound stream");
        }
        Note::Reset { stream, code } => tracing::debug!(target: TARGET, connection, %stream, code, "reset by the peer"),
        Note::OutOfMemory { stream, code } => {
            tracing::debug!(target: TARGET, connection, %stream, code, "there is no memory for what arrives");
        }
        Note::GoesAway { code } => tracing::debug!(target: TARGET, connection, code, "the peer goes away"),
        Note::Violated(violation) => tracing::debug!(target: TARGET, connection, %violation, "ending the connection"),
    });
}
