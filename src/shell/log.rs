//! Owns the text of the tracing events: emits what the core has noted. A subscriber is code of the user's, so this is never
//! called with the lock held.

use crate::logging::TARGET;
use crate::proto::{Note, Notes};

/// Emits what has happened on a connection, in that order. Where several tasks use it at once, what one of them did may be
/// emitted after what another did a moment later.
pub(super) fn emit(connection: u64, notes: Notes) {
    notes.into_iter().for_each(|note| match note {
        Note::Received(header) => tracing::trace!(target: TARGET, connection, ?header, "received"),
        Note::Sent(header) => tracing::trace!(target: TARGET, connection, ?header, "sent"),
        Note::Refused { stream, code } => {
            tracing::debug!(target: TARGET, connection, %stream, code, "refused an inbound stream");
        }
        Note::Reset { stream, code } => tracing::debug!(target: TARGET, connection, %stream, code, "reset by the peer"),
        Note::OutOfMemory { stream, code } => {
            tracing::debug!(target: TARGET, connection, %stream, code, "out of memory for what the peer sends");
        }
        Note::GoesAway { code } => tracing::debug!(target: TARGET, connection, code, "the peer sent a go-away"),
        Note::Violated(violation) => tracing::debug!(target: TARGET, connection, %violation, "ending the connection"),
    });
}
