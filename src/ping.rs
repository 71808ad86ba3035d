//! [`Ping`]: a ping of the application.
//!
//! Owns the ticket of the call, and gives it back when it is dropped; the core knows which ping it is for.

use crate::error::PingError;
use crate::shell::{Shared, WaitFor, WaiterSlot};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A ping that was asked for with [`Connection::ping`](crate::Connection::ping): its output is how long the answer took.
///
/// The ping leaves after the first poll of this future, so the answer takes a round trip at least. Calls that wait for a ping
/// to leave share it. One ping of a connection is under way at a time: where another one is, it is answered first, or times
/// out. It makes progress only while the connection is polled. Dropping it leaves nothing behind: neither its answer nor its
/// time-out is another one's.
///
/// # Errors
///
/// [`PingError::TimedOut`] where the answer has not come within
/// [`connection_write_timeout`](crate::ConfigBuilder::connection_write_timeout) after the ping has left, or where that could
/// not leave for as long; the connection lives on if something else has arrived meanwhile, or if keep-alive is off.
/// [`PingError::Connection`] where the connection has ended.
#[must_use = "a ping is not sent before it is polled"]
pub struct Ping {
    shared: Arc<Shared>,
    /// While it waits.
    ticket: Option<u64>,
    slot: WaiterSlot,
}

impl Ping {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, ticket: None, slot: WaiterSlot::Ticket(None) }
    }
}

impl Future for Ping {
    type Output = Result<Duration, PingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, ticket, slot } = self.get_mut();
        shared.poll_ping(ticket, slot, cx)
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        let Self { shared, ticket, slot } = self;
        if ticket.is_some() || slot.may_wait() {
            shared.with(|inner| {
                ticket.take().into_iter().for_each(|ticket| inner.mux.forget_ping(ticket));
                inner.leave(WaitFor::Pong, slot);
            });
        }
    }
}

impl fmt::Debug for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ping").field("connection", &self.shared.id()).finish_non_exhaustive()
    }
}
