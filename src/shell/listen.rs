//! Owns the wait for memory that was refused: listen, ask once more, and only then wait.

use crate::clock::Time;
use crate::memory::MemoryManager;
use crate::priority::Priority;
use futures::FutureExt;
use futures::future::{BoxFuture, select};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before asking a memory manager again that cannot tell when memory is released. Nobody else can
/// say, so it is polled: ten calls a second for a connection are nothing, and an open that had to wait may wait that long more.
const RETRY: Duration = Duration::from_millis(100);

/// How often a memory manager is asked to tell before it is taken for one that cannot. Once is not
/// enough where others take what was released in between; without a bound, a manager that never tells would keep the thread.
const LISTENS: usize = 3;

/// How long to wait for one that can. Somebody may have been woken for what was released who has lost interest.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks once more for what was refused, which is `bytes` at this priority. Where it still is, gives what to wait for before
/// asking again.
pub(super) fn ask_or_listen<R>(
    time: &Time,
    manager: &Arc<dyn MemoryManager>,
    bytes: usize,
    priority: Priority,
    mut ask: impl FnMut() -> Option<R>,
) -> Result<R, BoxFuture<'static, ()>> {
    for _ in 0..LISTENS {
        // Listen first, then ask: what is released in between is not missed.
        let released = manager.released(bytes, priority);
        match (ask(), released) {
            (Some(granted), _) => return Ok(granted),
            (None, Some(released)) => return Err(select(released, time.sleep(PATIENCE)).map(drop).boxed()),
            // It cannot tell; or there was room, which others have taken since.
            (None, None) => {}
        }
    }
    Err(time.sleep(RETRY).boxed())
}
