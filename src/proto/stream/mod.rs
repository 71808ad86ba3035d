//! Owns a stream's state: handshake x send x receive, three small enums that know nothing of each other.

mod handshake;
mod receive;
mod send;

pub(super) use handshake::{Handshake, HandshakeEvent};
pub(super) use receive::{Receive, ReceiveEvent, ReceiveState};
pub(super) use send::{Send, SendEvent, SendState};

use super::ledger::Counts;
use super::ready::Ready;
use super::stall::Stall;
use super::store::{Links, Serial};
use super::withheld::Place;
use crate::error::{Side, StreamError};
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::wire::StreamId;

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    /// What the store tells it by.
    pub(super) serial: Serial,
    /// Whether its wire life is not over: the store finds it by its id.
    pub(super) linked: bool,
    pub(super) priority: Priority,
    /// Whether the application has set it.
    pub(super) priority_chosen: bool,
    pub(super) handshake: Handshake,
    pub(super) send: Send,
    pub(super) receive: Receive,
    /// Who reset it, and the code. Set exactly when one of the halves is in its reset state.
    pub(super) reset: Option<ResetCause>,
    /// What is owed to the peer besides data.
    pub(super) owed: Owed,
    /// The window's memory, or that of what is unread, and in either that of the stream itself: this stays when the others
    /// are given back, for as long as the stream is on the wire.
    pub(super) reservation: Option<Reservation>,
    pub(super) handle: Handle,
    /// Bytes that were accepted from the application will never be sent: the connection ended first.
    pub(super) lost: bool,
    /// What the application waits for.
    pub(super) interest: Ready,
    pub(super) asking: Asking,
    /// Credit that may leave though the rest of it waits, in bytes.
    pub(super) trickle: u32,
    pub(super) sent: Counts,
    pub(super) received: Counts,
    pub(super) stall: Stall,
    pub(super) control_links: Links,
    pub(super) data_links: Links,
    pub(super) room_links: Links,
}

/// Who reset a stream, with which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResetCause {
    pub(super) by: ResetBy,
    pub(super) code: u32,
}

/// Who reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResetBy {
    /// This end: what was unread is dropped.
    Local,
    /// The peer. What was unread is delivered first.
    Remote,
    /// This end, which had no memory for what arrived. What was unread is delivered first.
    Overrun,
}

/// Where credit that is due stands with the memory manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// It need not be asked, or has granted it.
    No,
    /// It is asked before the next batch.
    Queued,
    /// It has refused; this is where the stream stands in line.
    Withheld(Place),
}

/// Whether the application can still act on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    /// It waits in the accept backlog, or the application holds it.
    Held,
    /// The application has dropped it.
    Released,
}

/// Control frames owed by a stream. Bits, not a queue: what they say is computed when they are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owed {
    /// The SYN has to leave though there is no data.
    pub(super) syn: bool,
    /// A reset with the code in [`Stream::reset`].
    pub(super) reset: bool,
}

impl Stream {
    pub(super) fn new(
        id: StreamId,
        handshake: Handshake,
        priority: Priority,
        window: u32,
        reservation: Reservation,
    ) -> Self {
        Self {
            id,
            serial: Serial::FIRST,
            linked: false,
            priority,
            priority_chosen: false,
            handshake,
            send: Send::new(),
            receive: Receive::new(window),
            reset: None,
            owed: Owed::default(),
            reservation: Some(reservation),
            handle: Handle::Held,
            lost: false,
            interest: Ready::NONE,
            asking: Asking::No,
            trickle: 0,
            sent: Counts::default(),
            received: Counts::default(),
            stall: Stall::default(),
            control_links: Links::default(),
            data_links: Links::default(),
            room_links: Links::default(),
        }
    }

    /// Whether a control frame is owed: SYN, ACK, credit or reset.
    pub(super) fn has_control(&self) -> bool {
        self.owed.syn || self.owed.reset || self.handshake == Handshake::Accepted || self.owes_credit()
    }

    /// Whether credit is due and the peer has a use for it (Y-FLOW-4, Y-FLOW-6).
    pub(super) fn owes_credit(&self) -> bool {
        let wanted = match self.receive.state {
            ReceiveState::Open => true,
            // Y-FLOW-10: the peer's writer does not hang while this end still writes, and with what is due when that is
            // over it finds out that nobody reads.
            ReceiveState::Stopped => self.send.state != SendState::Reset,
            ReceiveState::Finished | ReceiveState::Done | ReceiveState::Reset => false,
        };
        // The window of an inbound stream is announced with its ACK, so not before it was accepted.
        let known = matches!(self.handshake, Handshake::SynSent | Handshake::Done);
        let due = match self.asking {
            Asking::No => self.receive.window.is_due(),
            Asking::Queued | Asking::Withheld(_) => self.trickle > 0,
        };
        wanted && known && due
    }

    /// Whether the peer can send nothing and there is nothing to read, unless it is given more.
    pub(super) const fn stands_still(&self) -> bool {
        self.receive.window.is_exhausted() && self.trickle == 0
    }

    /// Whether all that was written is in batches that were cut, its SYN and FIN included.
    pub(super) fn is_cut(&self) -> bool {
        !self.send.has_output() && !self.owed.syn
    }

    /// Whether both ends are done with the stream as far as the wire goes.
    pub(super) fn is_wire_over(&self) -> bool {
        self.send.state.is_over() && self.receive.state.is_over() && !self.owed.reset && !self.owes_credit()
    }

    /// The error of an operation on a stream that was reset.
    pub(super) fn reset_error(&self) -> StreamError {
        match self.reset {
            Some(ResetCause { by: ResetBy::Local, code }) => StreamError::Reset { by: Side::Local, code },
            Some(ResetCause { by: ResetBy::Remote, code }) => StreamError::Reset { by: Side::Remote, code },
            Some(ResetCause { by: ResetBy::Overrun, .. }) => StreamError::Overrun,
            None => StreamError::WriteClosed,
        }
    }
}
