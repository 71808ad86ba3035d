//! Owns [`Opener`]: opening a stream, which may have to wait for the peer or for memory.

use super::listen::ask_or_listen;
use super::shared::{Inner, Shared};
use crate::config::{Config, RefusedOpen};
use crate::error::OpenError;
use crate::memory::{MemoryManager, Refused, Reservation};
use crate::priority::Priority;
use crate::proto::limits::INITIAL_WINDOW;
use crate::proto::{Key, OpenBlocked, first_reservation};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a pending open is waiting for. Dropping it leaves nothing behind.
#[derive(Default)]
pub(crate) struct Opener {
    memory: Option<BoxFuture<'static, ()>>,
}

impl Opener {
    /// Opens a stream. What happens when memory is refused is `refused`'s to say (Y-MEM-1).
    pub(crate) fn poll(
        &mut self,
        shared: &Shared,
        config: &Config,
        refused: RefusedOpen,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Key, u32), OpenError>> {
        let mut refused_once = false;
        loop {
            let waits_for_memory = self.memory.is_some();
            let stopped = shared.with(|inner| match inner.mux.can_open() {
                Err(why) => Some(blocked(inner, why, cx)),
                Ok(_) => {
                    if waits_for_memory {
                        // The end of the connection ends the wait, too.
                        inner.park_outbound(cx);
                    }
                    None
                }
            });
            match stopped {
                Some(Poll::Pending) => return Poll::Pending,
                Some(failed) => {
                    self.memory = None;
                    return failed;
                }
                None => {}
            }
            if self.memory.as_mut().is_some_and(|memory| memory.poll_unpin(cx).is_pending()) {
                return Poll::Pending;
            }
            self.memory = None;
            if refused_once {
                // A manager that always says that it is worth another try costs polls, and not the thread.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let memory = shared.memory();
            let reservation = match (reserve_stream(config, memory), refused) {
                (Ok(reservation), _) => reservation,
                (Err(error), RefusedOpen::Fail) => {
                    shared.with(|inner| inner.mux.open_refused());
                    return Poll::Ready(Err(error.into()));
                }
                (Err(refused), RefusedOpen::Wait) => {
                    let again = || reserve_stream(config, memory).ok();
                    match ask_or_listen(shared.time(), memory, refused.bytes(), Priority::ALWAYS, again) {
                        Ok(reservation) => reservation,
                        Err(released) => {
                            self.memory = Some(released);
                            if !waits_for_memory {
                                shared.with(|inner| inner.mux.open_refused());
                            }
                            refused_once = true;
                            continue;
                        }
                    }
                }
            };
            let opened = shared.with(|inner| match inner.mux.open(reservation) {
                Ok((key, id)) => Poll::Ready(Ok((key, id.value()))),
                Err(why) => blocked(inner, why, cx),
            });
            return opened;
        }
    }
}

fn blocked(inner: &mut Inner, why: OpenBlocked, cx: &Context<'_>) -> Poll<Result<(Key, u32), OpenError>> {
    match why {
        // The reason is told when the driver is done: until then the peer is still being told, too.
        OpenBlocked::Failed(OpenError::Connection(_)) if !inner.ended() => {}
        OpenBlocked::Failed(error) => return Poll::Ready(Err(error)),
        OpenBlocked::Backlog => {}
    }
    inner.park_outbound(cx);
    Poll::Pending
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("waits_for_memory", &self.memory.is_some()).finish()
    }
}

/// Memory for a stream: what is configured, or else the least that yamux allows (Y-MEM-1).
pub(super) fn reserve_stream(config: &Config, memory: &Arc<dyn MemoryManager>) -> Result<Reservation, Refused> {
    let reserve = |bytes: usize| Reservation::new(memory, bytes, Priority::ALWAYS);
    let (first, least) = (first_reservation(config), INITIAL_WINDOW as usize);
    reserve(first).or_else(|refused| if first > least { reserve(least) } else { Err(refused) })
}
