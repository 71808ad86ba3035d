//! `MemoryLimit`: a budget in bytes, shared by any number of connections.
//!
//! Owns one counter; who waits for it to fall stands in `waiters`. Uses `priority` for the rule of how full the budget
//! may be. Never blocks for long, never panics, and never lets the counter pass the limit.

use crate::counting::count_up;
use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use super::waiters::{Waiters, Wakes};
use super::{MemoryManager, Refused};
use crate::logging::TARGET;
use crate::priority::Priority;
use crate::sync::{AtomicUsize, Ordering};

/// A budget of bytes that any number of connections share.
///
/// A reservation is granted only while the sum of all reservations, itself included, is at most `limit * (1 + priority)
/// / 256`, rounded down. This is go-libp2p's rule: the less urgent a reservation is, the more of the budget it has to
/// leave free, and [`Priority::ALWAYS`] may use exactly the limit.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use sluicegate::{Config, MemoryLimit};
///
/// // 64 MiB for all the connections that are made with this configuration.
/// let budget = Arc::new(MemoryLimit::new(64 << 20));
/// let config = Config::builder().memory(budget.clone()).build()?;
/// // ... later, for a metric:
/// assert_eq!(budget.reserved(), 0);
/// # drop(config);
/// # Ok::<(), sluicegate::ConfigError>(())
/// ```
pub struct MemoryLimit(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: usize,
    reserved: AtomicUsize,
    peak: AtomicUsize,
    waiters: Waiters,
}

// The counters guard no other data, so `Relaxed` does for them. The one order that counts, between a release and a
// waiter that tries once more before it sleeps, is made by the fences of the waiters.
impl MemoryLimit {
    /// A budget of `limit` bytes. 0 refuses every byte; `usize::MAX` grants all that can be counted, at every priority.
    pub fn new(limit: usize) -> Self {
        let (reserved, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Budget { limit, reserved, peak, waiters: Waiters::default() }))
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many bytes are reserved now.
    pub fn reserved(&self) -> usize {
        self.0.reserved.load(Ordering::Relaxed)
    }

    /// The most bytes that have been reserved at any one time. Never more than [`limit`](Self::limit).
    pub fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }
}

impl MemoryManager for MemoryLimit {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        let threshold = priority.threshold(self.0.limit);
        let before = self
            .0
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                reserved.checked_add(bytes).filter(|after| *after <= threshold)
            })
            .map_err(|_| Refused::new(bytes))?;
        self.0.rises_to(count_up(before, bytes));
        Ok(())
    }

    fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self
            .0
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| Some(reserved.saturating_sub(bytes)))
            .unwrap_or_else(|reserved| reserved);
        if before < bytes {
            // No lock is held here, by this or by a connection that gives something back.
            tracing::error!(target: TARGET, released = bytes, reserved = before, "more memory was released than was reserved");
        }
        if self.0.waiters.any() {
            self.0.wake();
        }
    }

    fn released(&self, bytes: usize, priority: Priority) -> Option<BoxFuture<'static, ()>> {
        let turn = Waiters::wait(&self.0, bytes, priority);
        // Where there is room, it is not this budget that is waited for.
        if self.0.fits(bytes, priority) { None } else { Some(Box::pin(turn)) }
    }

    fn has_room(&self, bytes: usize, priority: Priority) -> bool {
        self.0.fits(bytes, priority)
    }
}

impl Wakes for Budget {
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    fn wake(&self) {
        self.waiters.wake(|bytes, priority| self.fits(bytes, priority));
    }
}

impl Budget {
    /// So much has been reserved. The peak is written where that is news, since two threads that write to it wait for each
    /// other.
    fn rises_to(&self, reserved: usize) {
        if reserved > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(reserved, Ordering::Relaxed);
        }
    }

    /// Whether there is room for `bytes` now.
    fn fits(&self, bytes: usize, priority: Priority) -> bool {
        let after = self.reserved.load(Ordering::Relaxed).checked_add(bytes);
        after.is_some_and(|after| after <= priority.threshold(self.limit))
    }
}

impl fmt::Debug for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimit")
            .field("limit", &self.limit())
            .field("reserved", &self.reserved())
            .field("peak", &self.peak())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Barrier, mpsc},
        thread,
        time::Duration,
    };

    use futures::{FutureExt, executor::block_on};
    use quickcheck::{QuickCheck, TestResult, quickcheck};

    use super::*;
    use crate::memory::Reservation;

    /// A limit of which `reserved` bytes are taken already.
    fn filled(limit: usize, reserved: usize) -> MemoryLimit {
        let memory = MemoryLimit::new(limit);
        memory.0.reserved.store(reserved, Ordering::Relaxed);
        memory
    }

    // F1, go-libp2p's TestCheckMemory. Its negative sizes cannot be expressed here.
    #[test]
    fn a_sum_that_overflows_is_refused() {
        let rows = [
            // (limit, reserved, asked for, granted)
            (usize::MAX, usize::MAX - 1, 1, true),
            (usize::MAX, usize::MAX - 1, 2, false),
            (usize::MAX, usize::MAX, 0, true),
            (usize::MAX, usize::MAX, usize::MAX, false),
            (usize::MAX - 1, usize::MAX - 1, 1, false),
            (usize::MAX - 1, usize::MAX - 1, usize::MAX, false),
        ];
        for (limit, reserved, bytes, granted) in rows {
            let memory = filled(limit, reserved);
            let outcome = memory.reserve(bytes, Priority::ALWAYS);
            assert_eq!(outcome.is_ok(), granted, "{bytes} on {reserved} of {limit}");
        }
    }

    // F1, the rule: refused exactly if what would be reserved passes limit * (1 + priority) / 256.
    #[test]
    fn the_rule_holds_for_every_power_of_two_less_one() {
        fn rule(limit: usize, reserved: usize, bytes: usize, k: u8) -> TestResult {
            let Some(reserved) = reserved.checked_rem(limit) else {
                return TestResult::discard();
            };
            let value = ((1u16 << (k % 9)) - 1) as u8;
            let memory = filled(limit, reserved);
            let outcome = memory.reserve(bytes, Priority::new(value));
            // The same rule without a division, so that its rounding is tested too.
            let sum = reserved as u128 + bytes as u128;
            let within = if limit == usize::MAX {
                sum <= usize::MAX as u128
            } else {
                sum * 256 <= limit as u128 * (1 + u128::from(value))
            };
            TestResult::from_bool(if within {
                outcome == Ok(()) && memory.reserved() as u128 == sum
            } else {
                outcome == Err(Refused::new(bytes)) && memory.reserved() == reserved
            })
        }
        QuickCheck::new().tests(2_000).quickcheck(rule as fn(usize, usize, usize, u8) -> TestResult);
    }

    quickcheck! {
        fn the_last_byte_is_granted_and_the_next_refused(limit: usize, value: u8) -> bool {
            let threshold = Priority::new(value).threshold(limit);
            let memory = MemoryLimit::new(limit);
            memory.reserve(threshold, Priority::new(value)) == Ok(())
                && memory.reserve(1, Priority::new(value)) == Err(Refused::new(1))
                && memory.reserved() == threshold
        }
    }

    // F2, go-libp2p's TestResources, on a limit of 4096 bytes.
    #[test]
    fn each_level_fills_its_share() {
        let rows = [
            (Priority::LOW, 1024, true),
            (Priority::LOW, 2048, false),
            (Priority::MEDIUM, 2048, true),
            (Priority::MEDIUM, 3072, false),
            (Priority::HIGH, 3072, true),
            (Priority::HIGH, 3584, false),
            (Priority::ALWAYS, 4096, true),
            (Priority::ALWAYS, 4097, false),
        ];
        for (priority, bytes, granted) in rows {
            // At once, and on top of what is reserved already: only the sum counts.
            for reserved in [0, 1024] {
                let memory = filled(4096, reserved);
                let outcome = memory.reserve(bytes - reserved, priority);
                assert_eq!(outcome.is_ok(), granted, "{priority:?} up to {bytes}");
            }
        }
    }

    quickcheck! {
        fn room_is_what_would_be_granted_and_asking_for_it_takes_none(limit: usize, held: usize, bytes: usize, value: u8) -> bool {
            let (held, priority) = (held % limit.max(1), Priority::new(value));
            let memory = filled(limit, held);
            let room = memory.has_room(bytes, priority);
            let asked = (memory.reserved(), memory.peak());
            asked == (held, 0) && room == memory.reserve(bytes, priority).is_ok()
        }
    }

    #[test]
    fn peak_is_the_highest_sum_ever_granted() {
        let memory = MemoryLimit::new(100);
        assert_eq!((memory.limit(), memory.peak()), (100, 0));
        memory.reserve(60, Priority::ALWAYS).unwrap();
        memory.release(50);
        memory.reserve(30, Priority::ALWAYS).unwrap();
        assert!(memory.reserve(61, Priority::ALWAYS).is_err());
        assert_eq!((memory.reserved(), memory.peak()), (40, 60));
        memory.reserve(60, Priority::ALWAYS).unwrap();
        memory.release(100);
        assert_eq!((memory.reserved(), memory.peak()), (0, 100));
    }

    #[test]
    fn a_release_of_too_much_stops_at_zero() {
        let memory = filled(100, 40);
        memory.release(usize::MAX);
        assert_eq!(memory.reserved(), 0);
        memory.release(1);
        assert_eq!(memory.reserved(), 0);
        assert_eq!(memory.reserve(100, Priority::ALWAYS), Ok(()));
    }

    #[test]
    fn reservations_return_all_they_took_also_on_a_panic() {
        let limit = Arc::new(MemoryLimit::new(4096));
        let manager: Arc<dyn MemoryManager> = limit.clone();
        let mut window = Reservation::new(&manager, 1024, Priority::ALWAYS).unwrap();
        window.merge(Reservation::new(&manager, 512, Priority::LOW).unwrap());
        let part = window.split(36);
        assert!(Reservation::new(&manager, 512, Priority::LOW).is_err());
        assert_eq!(limit.reserved(), 1536);
        drop(part);
        assert_eq!(limit.reserved(), 1500);
        let outcome = catch_unwind(AssertUnwindSafe(move || {
            let _window = window;
            panic!("while holding memory");
        }));
        assert!(outcome.is_err());
        assert_eq!((limit.reserved(), limit.peak()), (0, 1536));
    }

    #[test]
    fn threads_never_pass_the_limit_and_end_at_zero() {
        const THREADS: usize = 8;
        // Two reservations of one thread alone can pass it.
        let limit = Arc::new(MemoryLimit::new(300));
        let start = Arc::new(Barrier::new(THREADS));
        let workers: Vec<_> = (0..THREADS)
            .map(|worker| {
                let (limit, start) = (limit.clone(), start.clone());
                thread::spawn(move || {
                    let manager: Arc<dyn MemoryManager> = limit.clone();
                    let mut held = Vec::new();
                    let mut refused = 0;
                    start.wait();
                    for turn in 0..5_000 {
                        let bytes = 1 + (turn * 31 + worker * 17) % 300;
                        match Reservation::new(&manager, bytes, Priority::ALWAYS) {
                            Ok(reservation) => held.push(reservation),
                            Err(_) => refused += 1,
                        }
                        assert!(limit.reserved() <= 300);
                        if held.len() > turn % 4 {
                            drop(held.swap_remove(0));
                        }
                    }
                    refused
                })
            })
            .collect();
        let refused: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(limit.reserved(), 0);
        assert!(limit.peak() <= 300);
        assert!(refused > 0, "the threads never met the limit");
    }

    /// A wait for `bytes` at a priority.
    fn wait(memory: &MemoryLimit, bytes: usize, priority: Priority) -> BoxFuture<'static, ()> {
        memory.released(bytes, priority).unwrap()
    }

    fn is_over(wait: &mut BoxFuture<'static, ()>) -> bool {
        wait.now_or_never().is_some()
    }

    #[test]
    fn released_counts_from_the_call_not_from_the_first_poll() {
        let memory = filled(100, 100);
        memory.release(1);
        memory.reserve(1, Priority::ALWAYS).unwrap();
        let [mut first, mut second] = [(); 2].map(|()| wait(&memory, 1, Priority::ALWAYS));
        assert!(!is_over(&mut second), "released before");
        memory.release(2);
        assert!(is_over(&mut first) && is_over(&mut second));
    }

    #[test]
    fn a_release_wakes_waiters_by_urgency_then_arrival() {
        let memory = filled(100, 100);
        let mut waits = [Priority::HIGH, Priority::ALWAYS, Priority::ALWAYS, Priority::new(254)]
            .map(|priority| wait(&memory, 10, priority));
        let mut over = |expected: [bool; 4]| {
            for (wait, expected) in waits.iter_mut().zip(expected) {
                assert_eq!(is_over(wait), expected);
                if expected {
                    // A turn is told once.
                    *wait = Box::pin(std::future::pending());
                }
            }
        };
        memory.release(9);
        over([false; 4]);
        memory.release(1);
        over([false, true, false, false]);
        memory.reserve(10, Priority::ALWAYS).unwrap();
        memory.release(11);
        over([false, false, true, false]);
        memory.reserve(10, Priority::ALWAYS).unwrap();
        memory.release(10);
        over([false, false, false, true]);
        memory.release(19);
        over([false; 4]);
        // Its share is 79.
        memory.release(1);
        over([true, false, false, false]);
    }

    #[test]
    fn who_does_not_fit_keeps_its_place_before_those_who_would() {
        let memory = filled(100, 100);
        let mut large = wait(&memory, 50, Priority::ALWAYS);
        let mut small = wait(&memory, 1, Priority::ALWAYS);
        memory.release(49);
        assert!(!is_over(&mut large) && !is_over(&mut small));
        memory.release(2);
        assert!(is_over(&mut large) && is_over(&mut small));
    }

    #[test]
    fn a_turn_that_is_not_taken_goes_to_the_next() {
        for polled in [false, true] {
            let memory = filled(100, 100);
            let mut first = wait(&memory, 10, Priority::ALWAYS);
            let mut second = wait(&memory, 10, Priority::ALWAYS);
            assert!(!polled || !is_over(&mut first));
            assert!(!is_over(&mut second));
            memory.release(10);
            drop(first);
            assert!(is_over(&mut second));
        }
        // Also where it was only in the way.
        let memory = filled(100, 100);
        let large = wait(&memory, 10, Priority::ALWAYS);
        let mut small = wait(&memory, 5, Priority::ALWAYS);
        memory.release(5);
        assert!(!is_over(&mut small));
        drop(large);
        assert!(is_over(&mut small));
    }

    #[test]
    fn no_bytes_released_wake_nobody() {
        let memory = filled(100, 100);
        let mut released = wait(&memory, 10, Priority::ALWAYS);
        memory.release(0);
        assert!(!is_over(&mut released));
    }

    #[test]
    fn where_there_is_room_there_is_nothing_to_wait_for() {
        let memory = filled(100, 50);
        assert!(memory.released(50, Priority::ALWAYS).is_none());
        assert!(memory.released(51, Priority::ALWAYS).is_some());
        assert!(memory.released(1, Priority::LOW).is_some());
        assert_eq!(memory.0.waiters.len(), 0);
    }

    #[test]
    fn a_waiter_that_is_dropped_or_had_its_turn_leaves_nothing() {
        let memory = filled(100, 100);
        let (unpolled, mut polled) = (wait(&memory, 1, Priority::LOW), wait(&memory, 1, Priority::ALWAYS));
        assert!(!is_over(&mut polled));
        assert_eq!(memory.0.waiters.len(), 2);
        memory.release(1);
        assert_eq!(memory.0.waiters.len(), 1);
        assert!(is_over(&mut polled));
        drop(unpolled);
        assert_eq!(memory.0.waiters.len(), 0);
    }

    #[test]
    fn a_waiter_that_outlives_the_limit_is_harmless() {
        let mut released = wait(&filled(100, 100), 1, Priority::ALWAYS);
        assert!(!is_over(&mut released));
    }

    #[test]
    fn waiters_that_try_again_before_they_sleep_miss_nothing() {
        const TURNS: usize = 2_000;
        let limit = Arc::new(MemoryLimit::new(1));
        let (done, finished) = mpsc::channel();
        for _ in 0..4 {
            let (limit, done) = (limit.clone(), done.clone());
            thread::spawn(move || {
                for _ in 0..TURNS {
                    while limit.reserve(1, Priority::ALWAYS).is_err() {
                        let Some(released) = limit.released(1, Priority::ALWAYS) else { continue };
                        if limit.reserve(1, Priority::ALWAYS).is_ok() {
                            break;
                        }
                        block_on(released);
                    }
                    limit.release(1);
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..4 {
            let outcome = finished.recv_timeout(Duration::from_secs(60));
            assert_eq!(outcome, Ok(()), "a waiter was not woken");
        }
        assert_eq!((limit.reserved(), limit.peak()), (0, 1));
    }
}
