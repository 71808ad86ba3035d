//! Owns [`Ends`]: the record of how a connection ends.
//!
//! Only records. The coordinator decides what the end of a transport means for the connection and its streams.

use crate::wire::Header;
use web_time::Instant;

/// The record of how a connection ends.
#[derive(Debug, Default)]
pub(in crate::proto) struct Ends {
    /// Number of the last batch that the transport has taken, and of the last one with a FIN in it.
    written: u64,
    last_fin: u64,
    /// The last frame of the peer was a go-away, pings aside.
    peer_has_left: bool,
    /// All ids of this end have been used, and the peer has been told that the connection ends with its streams.
    retiring: bool,
    /// When the connection closes even if streams are open: a task waits for a stream that will never open.
    overdue: Option<Instant>,
    /// The peer is to confirm that it has read the go-away.
    asks_confirmation: bool,
    /// The state of that confirmation, once it was asked for.
    confirmation: Option<Confirmation>,
    /// How many streams have ended while their handles held taken bytes.
    held: u64,
}

/// Whether the peer has read the go-away of this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// The pong to this ping will confirm it.
    Awaited(u32),
    /// The pong has arrived.
    Received,
}

impl Ends {
    /// The transport has taken all batches up to this number.
    pub(in crate::proto) const fn batch_written(&mut self, number: u64) {
        self.written = number;
    }

    /// A FIN was put into the batch with this number.
    pub(in crate::proto) const fn fin_encoded(&mut self, number: u64) {
        self.last_fin = number;
    }

    /// Number of the last batch that the transport has taken.
    pub(in crate::proto) const fn written(&self) -> u64 {
        self.written
    }

    /// Whether the transport has taken every FIN that was put into a batch.
    pub(in crate::proto) const fn has_written_fins(&self) -> bool {
        self.last_fin <= self.written
    }

    /// The peer has sent a frame.
    pub(in crate::proto) const fn frame_received(&mut self, header: Header) {
        match header {
            Header::Data { .. } | Header::WindowUpdate { .. } => self.peer_has_left = false,
            Header::GoAway { .. } => self.peer_has_left = true,
            Header::Ping { .. } => {}
        }
    }

    /// Whether the peer's go-away was the last frame it sent, pings aside.
    pub(in crate::proto) const fn peer_has_left(&self) -> bool {
        self.peer_has_left
    }

    /// The connection ends with its streams from now on; returns whether that is new.
    pub(in crate::proto) const fn retire(&mut self) -> bool {
        !std::mem::replace(&mut self.retiring, true)
    }

    pub(in crate::proto) const fn is_retiring(&self) -> bool {
        self.retiring
    }

    /// The connection closes at that time, even if streams are open.
    #[cfg(any(feature = "libp2p", test))]
    pub(in crate::proto) const fn close_at(&mut self, at: Instant) {
        self.overdue = Some(at);
    }

    pub(in crate::proto) const fn overdue_at(&self) -> Option<Instant> {
        self.overdue
    }

    /// Whether that time has come; true once.
    pub(in crate::proto) fn take_overdue(&mut self, now: Instant) -> bool {
        let over = self.overdue.is_some_and(|at| now >= at);
        if over {
            self.overdue = None;
        }
        over
    }

    /// The peer is to confirm that it has read the go-away.
    #[cfg(any(feature = "libp2p", test))]
    pub(in crate::proto) const fn ask_confirmation(&mut self) {
        self.asks_confirmation = true;
    }

    pub(in crate::proto) const fn asks_confirmation(&self) -> bool {
        self.asks_confirmation
    }

    /// The ping behind the go-away has this nonce.
    pub(in crate::proto) const fn confirm_by(&mut self, nonce: u32) {
        self.confirmation = Some(Confirmation::Awaited(nonce));
    }

    /// A pong has come.
    pub(in crate::proto) fn on_pong(&mut self, nonce: u32) {
        if self.confirmation == Some(Confirmation::Awaited(nonce)) {
            self.confirmation = Some(Confirmation::Received);
        }
    }

    /// Whether the peer has read the go-away, where it was asked.
    pub(in crate::proto) const fn confirmation(&self) -> Option<Confirmation> {
        self.confirmation
    }

    /// A stream has ended while its handle held what had been taken off it.
    pub(in crate::proto) const fn stream_ended_with_held(&mut self) {
        self.held = self.held.wrapping_add(1);
    }

    /// How many have.
    pub(in crate::proto) const fn held(&self) -> u64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, PingKind, StreamId};

    #[test]
    fn y_close_13_a_peer_has_left_until_its_next_stream_frame() {
        let id = StreamId::new(1).expect("not zero");
        let data = Header::Data { id, flags: Flags::NONE, len: 0 };
        let update = Header::WindowUpdate { id, flags: Flags::NONE, value: 1 };
        let (ping, away) = (Header::Ping { kind: PingKind::Request, nonce: 1 }, Header::GoAway { code: 0 });
        let mut ends = Ends::default();
        for (header, left) in [(data, false), (away, true), (ping, true), (update, false), (away, true), (data, false)]
        {
            ends.frame_received(header);
            assert_eq!(ends.peer_has_left(), left, "{header:?}");
        }
    }
}
