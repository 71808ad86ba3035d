//! Owns a stream's state: handshake x send x receive, three small enums that know nothing of each other.

mod handshake;
mod motion;
mod receive;
mod send;

pub(super) use handshake::{Handshake, HandshakeEvent};
use motion::STILL;
pub(super) use motion::{Motion, Motions};
pub(super) use receive::{Receive, ReceiveBuffer, ReceiveEvent, ReceiveState};
pub(super) use send::{Send, SendBuffer, SendEvent, SendState};

use super::ledger::{Counts, Updates};
use super::ready::Ready;
use super::stall::Stall;
use super::store::Serial;
use super::withheld::Asking;
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
    /// What the application waits for.
    pub(super) interest: Ready,
    pub(super) sent: Counts,
    pub(super) received: Counts,
    pub(super) updates: Updates,
    pub(super) stall: Stall,
    /// Of one on which something moves. The store makes it and takes it back.
    pub(super) motion: Option<Box<Motion>>,
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
            interest: Ready::NONE,
            sent: Counts::default(),
            received: Counts::default(),
            updates: Updates::default(),
            stall: Stall::default(),
            motion: None,
        }
    }

    /// What moves, to look at.
    pub(super) fn motion(&self) -> &Motion {
        self.motion.as_deref().unwrap_or(&STILL)
    }

    /// Whether a data frame, a FIN or the reset behind data can be cut.
    pub(super) fn has_output(&self) -> bool {
        !self.motion().unsent.is_empty() || matches!(self.send.state, SendState::Closing | SendState::Aborting)
    }

    /// Bytes of memory that the next `len` bytes of a body take beside what there is for those before.
    pub(super) fn allocation(&self, len: usize) -> usize {
        if self.receive.state == ReceiveState::Open { self.motion().unread.allocation(len) } else { 0 }
    }

    /// Drops what was written and not cut, and the memory with it; says how many bytes that was.
    pub(super) fn drop_unsent(&mut self) -> usize {
        self.motion.as_mut().map_or(0, |motion| motion.unsent.clear())
    }

    /// Drops what has arrived and was not read, and the memory with it; says how many bytes that was.
    pub(super) fn drop_unread(&mut self) -> u32 {
        self.motion.as_mut().map_or(0, |motion| motion.unread.clear())
    }

    /// Whether a control frame is owed: SYN, ACK, credit or reset.
    pub(super) fn has_control(&self) -> bool {
        self.owed.syn || self.owed.reset || self.handshake == Handshake::Accepted || self.owes_credit()
    }

    /// Whether credit is due and the peer has a use for it (Y-FLOW-4, Y-FLOW-6).
    pub(super) fn owes_credit(&self) -> bool {
        let wanted = match self.receive.state {
            ReceiveState::Open => true,
            // Y-FLOW-10: the peer's writer does not hang while this end still writes.
            ReceiveState::Stopped => matches!(self.send.state, SendState::Open | SendState::Closing),
            ReceiveState::Finished | ReceiveState::Done | ReceiveState::Reset => false,
        };
        // The window of an inbound stream is announced with its ACK, so not before it was accepted.
        let known = matches!(self.handshake, Handshake::SynSent | Handshake::Done);
        let motion = self.motion();
        let due = match motion.asking {
            Asking::No => self.receive.window.is_due(),
            Asking::Queued | Asking::Withheld(_) => motion.trickle > 0,
        };
        wanted && known && due
    }

    /// Whether the peer can send nothing and there is nothing to read, unless it is given more.
    pub(super) fn stands_still(&self) -> bool {
        self.receive.window.is_exhausted() && self.motion().trickle == 0
    }

    /// Whether nothing can arrive any more that the application would read.
    pub(super) fn is_receive_over(&self) -> bool {
        self.receive.state.is_over() || !self.linked
    }

    /// How many bytes may be read before that is reported; 0 where each chunk is to be, as nothing more can arrive.
    pub(super) fn due(&self) -> u32 {
        if self.is_receive_over() { 0 } else { self.receive.window.until_due() }
    }

    /// Whether the transport has taken all that was written, when it has taken this many batches; the FIN may be missing.
    pub(super) fn has_sent_all(&self, written: u64) -> bool {
        let sent = self.send.last_batch <= written || self.send.fin_alone;
        sent && self.motion().unsent.is_empty() && !self.send.lost
    }

    /// Whether all that was written is in batches that were cut, its SYN and FIN included.
    pub(super) fn is_cut(&self) -> bool {
        !self.has_output() && !self.owed.syn
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
            Some(ResetCause { by: ResetBy::Overrun, .. }) => StreamError::OutOfMemory,
            None => StreamError::WriteClosed,
        }
    }
}
