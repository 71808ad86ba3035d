//! Owns how memory is reserved: for a stream, and again after a refusal, where a task has to wait for a release. Never called
//! with a lock held, since a memory manager is code of the user's.

use crate::clock::Time;
use crate::config::Config;
use crate::memory::{MemoryManager, Refused, Reservation};
use crate::priority::Priority;
use crate::proto::Charge;
use crate::proto::limits::INITIAL_WINDOW;
use futures::FutureExt;
use futures::future::{BoxFuture, select};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before asking a memory manager again that cannot tell when memory is released. A stream that waits is
/// late by that at most, and a thousand connections that wait ask ten thousand times a second.
const RETRY: Duration = Duration::from_millis(100);

/// How often a memory manager is asked to tell before it is taken for one that cannot: it says `None` also where there was
/// room, which others have taken since.
const ATTEMPTS: usize = 3;

/// How long to wait for one that can tell: the task that was woken for what was released may have lost interest.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Memory for a stream: what is configured, or else the least that yamux allows (Y-MEM-1).
pub(super) fn reserve_stream(config: &Config, memory: &Arc<dyn MemoryManager>) -> Result<Reservation, Refused> {
    let reserve = |bytes: usize| Reservation::new(memory, bytes, Priority::ALWAYS);
    let (first, least) = (Charge::new(config).first_reservation(), INITIAL_WINDOW as usize);
    reserve(first).or_else(|refused| if first > least { reserve(least) } else { Err(refused) })
}

/// The least that such a reservation takes.
pub(super) fn least_reservation(config: &Config) -> usize {
    Charge::new(config).first_reservation().min(INITIAL_WINDOW as usize)
}

/// Asks once more for what was refused, which is `bytes` at this priority. If it is refused again, returns what to wait for
/// before asking again.
pub(super) fn reserve_or_wait<R>(
    time: &Time,
    manager: &Arc<dyn MemoryManager>,
    bytes: usize,
    priority: Priority,
    mut reserve: impl FnMut() -> Option<R>,
) -> Result<R, BoxFuture<'static, ()>> {
    for _ in 0..ATTEMPTS {
        // Listen first, then reserve: a release in between is not missed.
        let released = manager.released(bytes, priority);
        match (reserve(), released) {
            (Some(granted), _) => return Ok(granted),
            (None, Some(released)) => return Err(select(released, time.sleep(LONGEST_WAIT)).map(drop).boxed()),
            (None, None) => {}
        }
    }
    Err(time.sleep(RETRY).boxed())
}
