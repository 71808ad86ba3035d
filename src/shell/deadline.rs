//! Owns [`Deadline`]: until when one half of a stream may wait. It has no protocol state and no lock: any task may set it while
//! another one waits.

use super::timer::Timer;
use crate::clock::Time;
use crate::sync::{AtomicU64, Ordering};
use futures::task::AtomicWaker;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;
use web_time::Instant;

/// Deadlines are kept as nanoseconds around this moment, which is [`ORIGIN`]: a clock in virtual time may be behind it.
static START: LazyLock<Instant> = LazyLock::new(|| Time::Real.now());

/// What [`START`] is kept as. In nanoseconds, 146 years before it can be represented, and 438 after it.
const ORIGIN: u64 = 1 << 62;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// A deadline, and the waker of the task that waits for it.
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
    /// Changes it; the task that waits is woken and checks it again.
    pub(crate) fn set(&self, at: Option<Instant>) {
        self.at.store(at.map_or(NEVER, encode), Ordering::Release);
        self.waiter.wake();
    }

    fn get(&self) -> Option<Instant> {
        match self.at.load(Ordering::Acquire) {
            NEVER => None,
            at => decode(at),
        }
    }

    pub(crate) fn has_passed(&self, time: &Time) -> bool {
        self.get().is_some_and(|at| time.now() >= at)
    }

    /// Ready when it has passed. Otherwise the task is woken then, and when it is changed.
    pub(crate) fn poll_passed(&self, time: &Time, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
        self.waiter.register(cx.waker());
        if timer.poll(time, self.get(), time.now(), cx) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A deadline before the first that can be represented has passed; one in more than 400 years is never.
fn encode(at: Instant) -> u64 {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(NEVER);
    match at.checked_duration_since(*START) {
        Some(after) => ORIGIN.saturating_add(nanos(after)),
        None => ORIGIN.saturating_sub(nanos(START.saturating_duration_since(at))),
    }
}

fn decode(at: u64) -> Option<Instant> {
    match at.checked_sub(ORIGIN) {
        Some(after) => START.checked_add(Duration::from_nanos(after)),
        // What is before the first instant of this platform counts as the start.
        None => START.checked_sub(Duration::from_nanos(ORIGIN.saturating_sub(at))).or(Some(*START)),
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
        assert!(deadline.get().is_none() && !deadline.has_passed(&Time::Real));
        let ages = [now.checked_sub(Duration::from_secs(1 << 40)), now.checked_sub(Duration::from_secs(1)), Some(now)];
        for past in ages.into_iter().flatten() {
            deadline.set(Some(past));
            assert!(deadline.has_passed(&Time::Real));
            deadline.set(None);
            assert!(!deadline.has_passed(&Time::Real));
        }
        for future in [now + Duration::from_secs(60), now + Duration::from_secs(1 << 35)] {
            deadline.set(Some(future));
            assert!(!deadline.has_passed(&Time::Real));
        }
    }

    #[test]
    fn a_changed_deadline_is_used_from_the_next_poll_on() {
        let (deadline, mut alarm) = (Deadline::default(), Timer::default());
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        assert!(deadline.poll_passed(&Time::Real, &mut alarm, &mut cx).is_pending());
        deadline.set(Some(Instant::now()));
        assert!(deadline.poll_passed(&Time::Real, &mut alarm, &mut cx).is_ready());
        deadline.set(None);
        assert!(deadline.poll_passed(&Time::Real, &mut alarm, &mut Context::from_waker(&noop_waker())).is_pending());
    }
}
