//! Memory budgets: [`MemoryManager`], which connections ask before they hold bytes for a stream, and ready-made budgets:
//! [`MemoryLimit`], [`MemoryScope`] and [`Unlimited`]. A [`Reservation`] is a grant that releases itself.
//!
//! Owns grants, refusals and the waiters for a release. Uses `priority` only. It never holds the bytes themselves, never blocks,
//! and knows nothing of streams or connections.

mod limit;
mod reservation;
mod scope;
mod waiters;

#[cfg(test)]
mod trees;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use crate::priority::Priority;

pub use limit::MemoryLimit;
pub use reservation::Reservation;
pub use scope::MemoryScope;

/// Grants or refuses the memory that connections hold for their streams.
///
/// A connection reserves before it opens or accepts a stream, before it grants a peer a larger window, and before its
/// send buffer grows past its fixed part; or, as [`ReceiveCharge`](crate::ReceiveCharge) says, before it keeps what has arrived. What is
/// refused is not done, and harms no other stream. One manager usually
/// serves every connection of a node. [`MemoryLimit`] is a budget in bytes; implement this trait to ask a resource
/// manager of your own.
///
/// # Rules for an implementation
///
/// * All methods may be called from several threads at once, and from within a task's poll: they must not block for
///   long. The crate calls them with none of its own locks held.
/// * A grant of `n` bytes is released exactly once, in one call or in several that sum up to `n`. The caller sees to
///   that also when it panics or is cancelled.
/// * The methods should not panic. If `reserve` does, nothing is released for it; if `release` does, it is not called a
///   second time for those bytes.
pub trait MemoryManager: fmt::Debug + Send + Sync + 'static {
    /// Asks for `bytes` more, at this priority.
    ///
    /// # Errors
    ///
    /// [`Refused`] if that cannot be granted now. Nothing has been charged then.
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused>;

    /// Gives `bytes` back that were granted before.
    fn release(&self, bytes: usize);

    /// A future that completes when a reservation of `bytes` at this priority is worth another try.
    ///
    /// It must count from the call, not from its first poll, so that whoever has been refused misses nothing: call
    /// this, try to reserve again, and only then wait. It may complete without need; whoever waits has to try again
    /// anyway, and calls this again where that is in vain. Dropping it must leave nothing behind. A manager should wake
    /// the most urgent first, and no more of them than it has memory for.
    ///
    /// `None`, the default, means that this manager cannot tell, or sees nothing in the way. Whoever waits then tries
    /// again on a timer.
    fn released(&self, bytes: usize, priority: Priority) -> Option<BoxFuture<'static, ()>> {
        let _ = (bytes, priority);
        None
    }

    /// Whether `bytes` more could be reserved now at this priority; of 0 bytes, whether no more is reserved than this
    /// priority may fill. Nothing is reserved by it.
    ///
    /// It is asked before a stream gets credit where that is not reserved ([`ReceiveCharge::Buffered`](crate::ReceiveCharge::Buffered)), for
    /// opens that wait for memory, and about windows that have grown: where there is no room for 0 bytes, they become smaller
    /// again as they are used.
    /// With thresholds that rise with the priority the least urgent give way first.
    ///
    /// The default reserves the bytes and releases them, and has always room for 0. For a moment it takes them from others,
    /// so a manager that serves [`ReceiveCharge::Buffered`](crate::ReceiveCharge::Buffered) should say it without.
    fn has_room(&self, bytes: usize, priority: Priority) -> bool {
        let granted = bytes == 0 || self.reserve(bytes, priority).is_ok();
        if granted && bytes > 0 {
            self.release(bytes);
        }
        granted
    }

    /// The manager for the reservations of one connection, asked for when that begins. `None`, the default, is this one.
    ///
    /// With it a manager tells connections apart, to limit what one of them may take; see [`MemoryScope`], which also asks
    /// whatever lies around it. A manager of your own that hands requests on to another one should do the same.
    fn for_connection(&self) -> Option<Arc<dyn MemoryManager>> {
        None
    }
}

/// A [`MemoryManager`] did not grant a reservation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reservation of {bytes} bytes of memory was refused")]
pub struct Refused {
    bytes: usize,
}

impl Refused {
    /// The refusal of a request for `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// How many bytes were asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The manager that always grants, and counts nothing. It is the default.
///
/// A connection then holds as much as its [`Config`](crate::Config) and its peer let it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl MemoryManager for Unlimited {
    fn reserve(&self, _bytes: usize, _priority: Priority) -> Result<(), Refused> {
        Ok(())
    }

    fn release(&self, _bytes: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_was_asked_for() {
        let refused = Refused::new(262_144);
        assert_eq!(refused.bytes(), 262_144);
        assert_eq!(refused.to_string(), "a reservation of 262144 bytes of memory was refused");
    }

    #[test]
    fn unlimited_grants_everything_and_cannot_tell_of_releases() {
        for bytes in [0, 1, usize::MAX, usize::MAX] {
            assert_eq!(Unlimited.reserve(bytes, Priority::new(0)), Ok(()));
        }
        Unlimited.release(usize::MAX);
        assert!(Unlimited.released(1, Priority::ALWAYS).is_none());
        assert!(Unlimited.has_room(usize::MAX, Priority::new(0)));
    }
}
