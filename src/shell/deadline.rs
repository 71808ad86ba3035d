//! Owns [`Deadline`]: until when one half of a stream may wait. No protocol state, no lock: it is set from any task while
//! another one waits.

use super::timer::Timer;
use crate::sync::{AtomicU64, Ordering};
use futures::task::AtomicWaker;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;
use web_time::Instant;

/// Deadlines are kept as nanoseconds since then. Those before it have passed, whichever they were.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// No deadline.
const NEVER: u64 = u64::MAX;

/// A deadline, and who waits for it.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: AtomicU64,
    waiter: AtomicWaker,
}

impl Default for Deadline {
    fn default() -> Self {
        Self { at: AtomicU64::new(NEVER), waiter: AtomicWaker::new() }
    }
}

impl Deadline {
    /// Changes it; whoever waits looks again.
    pub(crate) fn set(&self, at: Option<Instant>) {
        let since = |at: Instant| u64::try_from(at.saturating_duration_since(*START).as_nanos());
        // In more than 500 years is never.
        let at = at.map_or(NEVER, |at| since(at).unwrap_or(NEVER));
        self.at.store(at, Ordering::Release);
        self.waiter.wake();
    }

    fn get(&self) -> Option<Instant> {
        match self.at.load(Ordering::Acquire) {
            NEVER => None,
            at => START.checked_add(Duration::from_nanos(at)),
        }
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.get().is_some_and(|at| Instant::now() >= at)
    }

    /// Ready when it has passed. Otherwise the task is woken then, and when it is changed.
    pub(crate) fn poll_passed(&self, alarm: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
        self.waiter.register(cx.waker());
        if alarm.poll(self.get(), Instant::now(), cx) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;

    #[test]
    fn deadlines_of_any_age_are_kept() {
        let deadline = Deadline::default();
        let now = Instant::now();
        assert!(deadline.get().is_none() && !deadline.has_passed());
        let ages = [now.checked_sub(Duration::from_secs(1 << 40)), now.checked_sub(Duration::from_secs(1)), Some(now)];
        for past in ages.into_iter().flatten() {
            deadline.set(Some(past));
            assert!(deadline.has_passed());
            deadline.set(None);
            assert!(!deadline.has_passed());
        }
        for future in [now + Duration::from_secs(60), now + Duration::from_secs(1 << 35)] {
            deadline.set(Some(future));
            assert!(!deadline.has_passed());
        }
    }

    #[test]
    fn a_change_wakes_whoever_waits() {
        let (deadline, mut alarm) = (Deadline::default(), Timer::default());
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        assert!(deadline.poll_passed(&mut alarm, &mut cx).is_pending());
        deadline.set(Some(Instant::now()));
        assert!(deadline.poll_passed(&mut alarm, &mut cx).is_ready());
        deadline.set(None);
        assert!(deadline.poll_passed(&mut alarm, &mut Context::from_waker(&noop_waker())).is_pending());
    }
}
