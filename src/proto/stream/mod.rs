//! Owns [`Stream`]: handshake x send x receive, three small enums that know nothing of each other, and the fields of a
//! stream.
//!
//! Uses buffers, windows and counters. Never decides which frame is sent next, and does not know the other streams.

mod active;
mod body;
mod handshake;
mod links;
pub(super) mod readiness;
mod receive;
mod send;

use active::IDLE;
pub(super) use active::{ActiveState, states_kept};
pub(super) use body::{Body, Opener, Opening, Target};
pub(super) use handshake::{Handshake, HandshakeEvent};
pub(super) use links::Links;
pub(super) use receive::{Receive, ReceiveBuffer, ReceiveEvent, ReceiveState};
pub(super) use send::{Send, SendBuffer, SendEvent, SendState};

use crate::error::{Side, StreamError};
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::counters::stall::Stall;
use crate::proto::counters::{Counts, Updates};
use crate::proto::flow::requests::CreditState;
use crate::proto::key::Serial;
use crate::proto::stream::readiness::Readiness;
use crate::wire::StreamId;

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    /// Serial number in the store, which makes its key unique.
    pub(super) serial: Serial,
    /// Whether the stream is on the wire: the store finds it by its id.
    pub(super) linked: bool,
    pub(super) priority: Priority,
    /// Whether the application has set the priority.
    pub(super) priority_chosen: bool,
    pub(super) handshake: Handshake,
    pub(super) send: Send,
    pub(super) receive: Receive,
    /// Which end reset the stream, and the code. Set exactly when one of the halves is in its reset state.
    pub(super) reset: Option<ResetCause>,
    /// Control frames owed to the peer.
    pub(super) owed: Owed,
    /// Memory of the window, or of the unread bytes, and in either case the charge of the stream itself. This charge
    /// stays when the rest is given back, for as long as the stream is on the wire.
    pub(super) reservation: Option<Reservation>,
    pub(super) handle: Handle,
    /// Readiness that the application waits for.
    pub(super) interest: Readiness,
    pub(super) sent: Counts,
    pub(super) received: Counts,
    pub(super) updates: Updates,
    pub(super) stall: Stall,
    /// Set while the stream is active. The store makes it and takes it back.
    pub(super) active: Option<Box<ActiveState>>,
}

/// Which end reset a stream, and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResetCause {
    pub(super) by: ResetBy,
    pub(super) code: u32,
}

/// Which end reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResetBy {
    /// This end: unread bytes are dropped.
    Local,
    /// The peer. Unread bytes are delivered first.
    Remote,
    /// This end, for want of memory for arriving bytes. Unread bytes are delivered first.
    OutOfMemory,
}

/// Whether the application can still act on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    /// The stream waits in the accept backlog, or the application holds it.
    Held,
    /// The application has dropped the stream.
    Released,
}

/// A set of the queues whose streams follow from the state of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queues {
    /// The stream owes a SYN, an ACK, credit or a reset.
    pub(super) control: bool,
    /// It has data or a FIN to send.
    pub(super) data: bool,
    /// A task waits for its flush.
    pub(super) flush: bool,
}

/// Control frames owed by a stream. Bits, not a queue: the content is computed when they are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owed {
    /// The SYN has to leave even if there is no data.
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
            interest: Readiness::NONE,
            sent: Counts::default(),
            received: Counts::default(),
            updates: Updates::default(),
            stall: Stall::default(),
            active: None,
        }
    }

    /// The active state, or an idle one to read from.
    pub(super) fn active(&self) -> &ActiveState {
        self.active.as_deref().unwrap_or(&IDLE)
    }

    /// Whether a data frame, a FIN or the reset behind data can be encoded.
    pub(super) fn has_output(&self) -> bool {
        !self.active().unsent.is_empty() || matches!(self.send.state, SendState::Closing | SendState::Aborting)
    }

    /// The queues that the stream belongs into, by its state.
    pub(super) fn wanted_queues(&self) -> Queues {
        let (linked, flush) = (self.linked, self.interest.contains(Readiness::FLUSH));
        Queues { control: linked && self.has_control(), data: linked && self.has_output(), flush }
    }

    /// The queues that it is in.
    pub(super) fn queues(&self) -> Queues {
        let active = self.active();
        let [control, data, flush] =
            [active.control_links, active.data_links, active.flush_links].map(|links| links.is_queued());
        Queues { control, data, flush }
    }

    /// Bytes of memory that the next `len` bytes of a body allocate.
    pub(super) fn allocation(&self, len: usize) -> usize {
        if self.receive.state == ReceiveState::Open { self.active().unread.allocation(len) } else { 0 }
    }

    /// Drops data that is not encoded, and frees its memory; returns how many bytes it was.
    pub(super) fn drop_unsent(&mut self) -> usize {
        self.active.as_mut().map_or(0, |active| active.unsent.clear())
    }

    /// Drops unread bytes, and frees their memory; returns how many there were.
    pub(super) fn drop_unread(&mut self) -> u32 {
        self.active.as_mut().map_or(0, |active| active.unread.clear())
    }

    /// Whether a control frame is owed: SYN, ACK, credit or reset.
    pub(super) fn has_control(&self) -> bool {
        self.owed.syn || self.owed.reset || self.handshake == Handshake::Accepted || self.owes_credit()
    }

    /// Whether credit is due and the peer has a use for it (Y-FLOW-4, Y-FLOW-6).
    pub(super) fn owes_credit(&self) -> bool {
        let wanted = match self.receive.state {
            ReceiveState::Open => true,
            // Y-FLOW-10: credit keeps the peer's writer from hanging while this end still writes.
            ReceiveState::Stopped => matches!(self.send.state, SendState::Open | SendState::Closing),
            ReceiveState::Finished | ReceiveState::Done | ReceiveState::Reset => false,
        };
        // The ACK of an inbound stream announces its window, so no credit leaves before the accept.
        let known = matches!(self.handshake, Handshake::SynSent | Handshake::Done);
        let active = self.active();
        let due = match active.credit_state {
            CreditState::Settled => self.receive.window.is_due(),
            CreditState::Requested | CreditState::Waiting(_) => active.minimum_credit > 0,
        };
        wanted && known && due
    }

    /// Whether the peer has no credit and the application has nothing to read, and no credit is on its way.
    pub(super) fn is_credit_starved(&self) -> bool {
        self.receive.window.is_exhausted() && self.active().minimum_credit == 0
    }

    /// Whether no more bytes can arrive that the application would read.
    pub(super) fn is_receive_over(&self) -> bool {
        self.receive.state.is_over() || !self.linked
    }

    /// How many bytes may be read before the reader reports them; 0 where every chunk is to be reported, since no more
    /// bytes can arrive.
    pub(super) fn due(&self) -> u32 {
        if self.is_receive_over() { 0 } else { self.receive.window.until_due() }
    }

    /// Whether the transport has taken all written data once it has taken `written` batches; the FIN may be missing.
    pub(super) fn has_sent_all(&self, written: u64) -> bool {
        let sent = self.send.last_batch <= written || self.send.fin_alone;
        sent && self.active().unsent.is_empty() && !self.send.lost
    }

    /// Whether all written data is encoded, SYN and FIN included.
    pub(super) fn is_encoded(&self) -> bool {
        !self.has_output() && !self.owed.syn
    }

    /// Whether the stream is over on the wire for both ends.
    pub(super) fn is_wire_over(&self) -> bool {
        self.send.state.is_over() && self.receive.state.is_over() && !self.owed.reset && !self.owes_credit()
    }

    /// The error of an operation on a stream that was reset.
    pub(super) fn reset_error(&self) -> StreamError {
        match self.reset {
            Some(ResetCause { by: ResetBy::Local, code }) => StreamError::Reset { by: Side::Local, code },
            Some(ResetCause { by: ResetBy::Remote, code }) => StreamError::Reset { by: Side::Remote, code },
            Some(ResetCause { by: ResetBy::OutOfMemory, .. }) => StreamError::OutOfMemory,
            None => StreamError::WriteClosed,
        }
    }
}
