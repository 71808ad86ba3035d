//! Owns [`Opener`]: opening a stream, which may have to wait for the peer or for memory.

use super::shared::{Inner, Shared, What};
use super::waiters::Place;
use crate::config::{Config, RefusedOpen};
use crate::error::OpenError;
use crate::memory::{MemoryManager, Refused, Reservation};
use crate::priority::Priority;
use crate::proto::limits::INITIAL_WINDOW;
use crate::proto::{Announced, Key, OpenBlocked, first_reservation};
use std::sync::Arc;
use std::task::{Context, Poll};

/// What an open that waits has done about it. Dropping it leaves nothing behind: the waits themselves are the driver's,
/// which is polled whether the open is or not.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    announced: Announced,
    /// Its memory was refused, which is counted once.
    refused: bool,
}

impl Opener {
    /// Opens a stream, or waits in this place. What happens when memory is refused is `refused`'s to say (Y-MEM-1).
    pub(crate) fn poll(
        &mut self,
        shared: &Shared,
        config: &Config,
        refused: RefusedOpen,
        place: &mut Place,
        cx: &Context<'_>,
    ) -> Poll<Result<(Key, u32), OpenError>> {
        let opened = self.poll_open(shared, config, refused, place, cx);
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
        place: &mut Place,
        cx: &Context<'_>,
    ) -> Poll<Result<(Key, u32), OpenError>> {
        let blocked = shared.with(|inner| {
            let why = inner.mux.can_open().err()?;
            Some(self.blocked(inner, why, place, cx))
        });
        if let Some(blocked) = blocked {
            return blocked;
        }
        match (reserve_stream(config, shared.memory()), refused) {
            (Ok(reservation), _) => shared.with(|inner| match inner.mux.open(reservation) {
                Ok((key, id)) => {
                    inner.leave(What::Outbound, place);
                    Poll::Ready(Ok((key, id.value())))
                }
                Err(why) => self.blocked(inner, why, place, cx),
            }),
            (Err(error), RefusedOpen::Fail) => {
                shared.with(|inner| inner.mux.open_refused());
                Poll::Ready(Err(error.into()))
            }
            (Err(_), RefusedOpen::Wait) => shared.with(|inner| match inner.mux.can_open() {
                Err(why) => self.blocked(inner, why, place, cx),
                Ok(_) => {
                    if !std::mem::replace(&mut self.refused, true) {
                        inner.mux.open_refused();
                    }
                    inner.park_for_memory(place, cx);
                    Poll::Pending
                }
            }),
        }
    }

    fn blocked(
        &mut self,
        inner: &mut Inner,
        why: OpenBlocked,
        place: &mut Place,
        cx: &Context<'_>,
    ) -> Poll<Result<(Key, u32), OpenError>> {
        match why {
            // The reason is told when the driver is done: until then the peer is still being told, too.
            OpenBlocked::Failed(OpenError::Connection(_)) if !inner.ended() => {}
            OpenBlocked::Failed(error) => {
                inner.mux.retire();
                inner.leave(What::Outbound, place);
                return Poll::Ready(Err(error));
            }
            OpenBlocked::Backlog => inner.mux.announce_for(&mut self.announced),
        }
        inner.park(What::Outbound, place, cx);
        Poll::Pending
    }
}

/// Memory for a stream: what is configured, or else the least that yamux allows (Y-MEM-1).
pub(super) fn reserve_stream(config: &Config, memory: &Arc<dyn MemoryManager>) -> Result<Reservation, Refused> {
    let reserve = |bytes: usize| Reservation::new(memory, bytes, Priority::ALWAYS);
    let (first, least) = (first_reservation(config), INITIAL_WINDOW as usize);
    reserve(first).or_else(|refused| if first > least { reserve(least) } else { Err(refused) })
}

/// The least that such a reservation takes.
pub(super) fn least_reservation(config: &Config) -> usize {
    first_reservation(config).min(INITIAL_WINDOW as usize)
}
