//! `MemoryLimit`: a budget in bytes, shared by any number of connections.
//!
//! Owns one counter and the list of those who wait for it to fall. Uses `priority` for the rule of how full the budget
//! may be. Never blocks, never panics, and never lets the counter pass the limit.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering, fence},
};

use event_listener::Event;
use futures::future::BoxFuture;

use super::{MemoryManager, Refused};
use crate::priority::Priority;

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
pub struct MemoryLimit {
    limit: usize,
    reserved: AtomicUsize,
    peak: AtomicUsize,
    released: Event,
}

// The counters guard no other data, so `Relaxed` does for them. The one order that counts, between a release and a
// waiter that tries once more before it sleeps, is made by the two fences around the event.
impl MemoryLimit {
    /// A budget of `limit` bytes. 0 refuses every byte; `usize::MAX` grants all that can be counted, at every priority.
    pub fn new(limit: usize) -> Self {
        Self { limit, reserved: AtomicUsize::new(0), peak: AtomicUsize::new(0), released: Event::new() }
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes are reserved now.
    pub fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// The most bytes that have been reserved at any one time. Never more than [`limit`](Self::limit).
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

impl MemoryManager for MemoryLimit {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        let threshold = priority.threshold(self.limit);
        let before = self
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                reserved.checked_add(bytes).filter(|after| *after <= threshold)
            })
            .map_err(|_| Refused::new(bytes))?;
        self.peak.fetch_max(before + bytes, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| Some(reserved.saturating_sub(bytes)))
            .unwrap_or_else(|reserved| reserved);
        if before < bytes {
            tracing::error!(released = bytes, reserved = before, "more memory was released than was reserved");
        }
        // The event puts a full fence between the counter above and its look at the listeners.
        self.released.notify(usize::MAX);
    }

    fn released(&self) -> Option<BoxFuture<'static, ()>> {
        // Listens from here on, also if it is not polled for a while, and stops when it is dropped.
        let listener = self.released.listen();
        // Whoever tries to reserve after this sees either the lower counter or the notification.
        fence(Ordering::SeqCst);
        Some(Box::pin(listener))
    }
}

impl fmt::Debug for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimit")
            .field("limit", &self.limit)
            .field("reserved", &self.reserved())
            .field("peak", &self.peak())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Barrier, mpsc},
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
        memory.reserved.store(reserved, Ordering::Relaxed);
        memory
    }

    // F1, go-libp2p's TestCheckMemory. Its negative sizes cannot be expressed here.
    #[test]
    fn f1_a_sum_that_overflows_is_refused() {
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
    fn f1_the_rule_holds_for_every_2_to_the_k_minus_1() {
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
        fn f1_the_last_byte_is_granted_and_the_next_refused(limit: usize, value: u8) -> bool {
            let threshold = Priority::new(value).threshold(limit);
            let memory = MemoryLimit::new(limit);
            memory.reserve(threshold, Priority::new(value)) == Ok(())
                && memory.reserve(1, Priority::new(value)) == Err(Refused::new(1))
                && memory.reserved() == threshold
        }
    }

    // F2, go-libp2p's TestResources, on a limit of 4096 bytes.
    #[test]
    fn f2_each_level_fills_its_share() {
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

    #[test]
    fn released_counts_from_the_call_not_from_the_first_poll() {
        let memory = filled(100, 100);
        memory.release(1);
        let first = memory.released().unwrap();
        let mut second = memory.released().unwrap();
        assert_eq!((&mut second).now_or_never(), None, "released before");
        memory.release(1);
        // All who wait are told, whether they have been polled or not.
        assert_eq!(first.now_or_never(), Some(()));
        assert_eq!(second.now_or_never(), Some(()));
    }

    #[test]
    fn no_bytes_released_wake_nobody() {
        let memory = filled(100, 100);
        let released = memory.released().unwrap();
        memory.release(0);
        assert_eq!(released.now_or_never(), None);
    }

    #[test]
    fn a_dropped_waiter_leaves_no_listener() {
        let memory = filled(100, 100);
        let unpolled = memory.released().unwrap();
        let mut polled = memory.released().unwrap();
        assert_eq!((&mut polled).now_or_never(), None);
        assert_eq!(memory.released.total_listeners(), 2);
        drop(unpolled);
        drop(polled);
        assert_eq!(memory.released.total_listeners(), 0);
    }

    #[test]
    fn a_waiter_that_outlives_the_limit_is_harmless() {
        let mut released = filled(100, 100).released().unwrap();
        assert_eq!((&mut released).now_or_never(), None);
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
                        let released = limit.released().unwrap();
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
