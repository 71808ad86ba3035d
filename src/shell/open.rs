//! Owns [`PendingOpen`]: opening a stream, which may have to wait for the peer or for memory. Memory is reserved with no lock
//! held.

use super::inner::{Inner, WaitFor};
use super::reserve::reserve_stream;
use super::shared::Shared;
use super::waiters::WaiterSlot;
use crate::config::{Config, RefusedOpen};
use crate::error::OpenError;
use crate::proto::{Announced, Key, OpenBlocked};
use std::task::{Context, Poll};

/// The state of an open that waits. Dropping it leaves nothing behind: the driver waits for the peer and for memory, and it is
/// polled whether the open is or not.
#[derive(Debug, Default)]
pub(crate) struct PendingOpen {
    announced: Announced,
    /// Its memory was refused, and that has been counted.
    refused: bool,
}

impl PendingOpen {
    /// Opens a stream, or waits in this slot. `refused` says what happens when memory is refused (Y-MEM-1).
    pub(crate) fn poll(
        &mut self,
        shared: &Shared,
        config: &Config,
        refused: RefusedOpen,
        slot: &mut WaiterSlot,
        cx: &Context<'_>,
    ) -> Poll<Result<(Key, u32), OpenError>> {
        let opened = self.poll_open(shared, config, refused, slot, cx);
        if opened.is_ready() {
            *self = Self::default();
        }
        opened
    }

    fn poll_open(
        &mut self,
        shared: &Shared,
        config: &Config,
        refused: RefusedOpen,
        slot: &mut WaiterSlot,
        cx: &Context<'_>,
    ) -> Poll<Result<(Key, u32), OpenError>> {
        let blocked = shared.with(|inner| {
            let why = inner.mux.can_open().err()?;
            Some(self.blocked(inner, why, slot, cx))
        });
        if let Some(blocked) = blocked {
            return blocked;
        }
        match (reserve_stream(config, shared.memory()), refused) {
            (Ok(reservation), _) => shared.with(|inner| match inner.mux.open(reservation) {
                Ok((key, id)) => {
                    inner.leave(WaitFor::Outbound, slot);
                    Poll::Ready(Ok((key, id.value())))
                }
                Err(why) => self.blocked(inner, why, slot, cx),
            }),
            (Err(error), RefusedOpen::Fail) => {
                shared.with(|inner| inner.mux.open_refused());
                Poll::Ready(Err(error.into()))
            }
            (Err(_), RefusedOpen::Wait) => shared.with(|inner| match inner.mux.can_open() {
                Err(why) => self.blocked(inner, why, slot, cx),
                Ok(_) => {
                    if !std::mem::replace(&mut self.refused, true) {
                        inner.mux.open_refused();
                    }
                    inner.park_for_memory(slot, cx);
                    Poll::Pending
                }
            }),
        }
    }

    fn blocked(
        &mut self,
        inner: &mut Inner,
        why: OpenBlocked,
        slot: &mut WaiterSlot,
        cx: &Context<'_>,
    ) -> Poll<Result<(Key, u32), OpenError>> {
        match why {
            // The reason is reported when the driver is done: until then the peer is still being told.
            OpenBlocked::Failed(OpenError::Connection(_)) if !inner.ended() => {}
            OpenBlocked::Failed(error) => {
                inner.mux.retire();
                inner.leave(WaitFor::Outbound, slot);
                return Poll::Ready(Err(error));
            }
            OpenBlocked::Backlog => inner.mux.announce_for(&mut self.announced),
        }
        inner.park(WaitFor::Outbound, slot, cx);
        Poll::Pending
    }
}
