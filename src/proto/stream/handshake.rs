//! Owns [`Handshake`]: how far the opening of a stream has come.

/// Opening and acknowledging (Y-OPEN, Y-ACK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Handshake {
    /// Outbound; the SYN has not left yet.
    Lazy,
    /// Outbound; the SYN has left, the peer has sent no frame yet.
    SynSent,
    /// Inbound; the application has not accepted it yet.
    Incoming,
    /// Inbound; accepted, the ACK has not left yet.
    Accepted,
    /// Both ends know of the stream.
    Done,
}

/// Events of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum HandshakeEvent {
    /// The SYN was put into a batch.
    SynQueued,
    /// The application accepted the stream.
    Accept,
    /// The ACK was put into a batch.
    AckQueued,
    /// A frame of the peer arrived.
    Heard,
}

impl Handshake {
    /// The next state. Events without a meaning in a state leave it as it is.
    #[must_use]
    pub(in crate::proto) const fn on(self, event: HandshakeEvent) -> Self {
        match (self, event) {
            (Self::Lazy, HandshakeEvent::SynQueued) => Self::SynSent,
            (Self::Incoming, HandshakeEvent::Accept) => Self::Accepted,
            (Self::Accepted, HandshakeEvent::AckQueued) => Self::Done,
            // Y-ACK-3: any first frame of the peer counts as its ACK.
            (Self::SynSent, HandshakeEvent::Heard) => Self::Done,
            (state, _) => state,
        }
    }

    /// Whether the stream takes a place in the backlog of unacknowledged streams (Y-ACK-4).
    pub(in crate::proto) const fn is_unacknowledged(self) -> bool {
        matches!(self, Self::Lazy | Self::SynSent)
    }
}

#[cfg(test)]
mod tests {
    use super::{Handshake::*, HandshakeEvent::*};

    #[test]
    fn every_event_in_every_state() {
        let table = [
            (Lazy, SynQueued, SynSent),
            (Lazy, Accept, Lazy),
            (Lazy, AckQueued, Lazy),
            (Lazy, Heard, Lazy),
            (SynSent, SynQueued, SynSent),
            (SynSent, Accept, SynSent),
            (SynSent, AckQueued, SynSent),
            (SynSent, Heard, Done),
            (Incoming, SynQueued, Incoming),
            (Incoming, Accept, Accepted),
            (Incoming, AckQueued, Incoming),
            (Incoming, Heard, Incoming),
            (Accepted, SynQueued, Accepted),
            (Accepted, Accept, Accepted),
            (Accepted, AckQueued, Done),
            (Accepted, Heard, Accepted),
            (Done, SynQueued, Done),
            (Done, Accept, Done),
            (Done, AckQueued, Done),
            (Done, Heard, Done),
        ];
        for (state, event, next) in table {
            assert_eq!(state.on(event), next, "{state:?} on {event:?}");
        }
        assert_eq!(
            [Lazy, SynSent, Incoming, Accepted, Done].map(|s| s.is_unacknowledged()),
            [true, true, false, false, false]
        );
    }
}
