//! Owns [`Shared`]: the one mutex of a connection, and all that is reached without it.
//!
//! [`Shared::with`] and, for tasks that can yield instead of blocking, [`Shared::poll_with`] run a closure with the lock held.
//! Only after the lock is released do they log, wake tasks, drop wakers and release memory: all of these run code of the user's.

use super::after_unlock::AfterUnlock;
use super::inner::{Inner, KEPT, WaitFor};
use super::waiters::WaiterSlot;
use crate::clock::Time;
use crate::error::{ConnectionError, PingError};
use crate::memory::MemoryManager;
use crate::proto::limits::LOCK_ATTEMPTS;
use crate::proto::{Key, Mux, PingProgress};
use crate::stats::{ConnectionStats, NodeStats, Source, StreamStats};
use crate::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use web_time::Instant;

/// One end of a connection, shared by its driver and its streams.
pub(crate) struct Shared {
    id: u64,
    /// The memory manager for this connection.
    memory: Arc<dyn MemoryManager>,
    time: Time,
    /// What [`Mux::ends_with_held`] returns, for handles that do not take the lock.
    ends: AtomicU64,
    /// Where its figures are added when it is dropped.
    node: Option<NodeStats>,
    inner: Mutex<Inner>,
}

/// How often a task has found the lock taken and yielded, since it last blocked for it.
#[derive(Debug, Default)]
pub(crate) struct LockAttempts(u8);

impl Shared {
    pub(crate) fn new(mux: Mux) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let time = mux.config().clock().clone();
        let node = mux.config().stats().cloned();
        let memory = mux.config().memory();
        let memory = memory.for_connection().unwrap_or_else(|| memory.clone());
        let inner = Inner::new(mux);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, memory, time, ends: AtomicU64::new(0), node, inner: Mutex::new(inner) }
    }

    /// A number that no other connection of this process has.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// The memory manager for this connection.
    pub(crate) const fn memory(&self) -> &Arc<dyn MemoryManager> {
        &self.memory
    }

    /// The clock that the connection goes by.
    pub(crate) const fn time(&self) -> &Time {
        &self.time
    }

    /// The time, by that clock. It is read before the lock is taken.
    pub(crate) fn now(&self) -> Instant {
        self.time.now()
    }

    /// The oldest stream that waits to be accepted, with its id; or why there will be none.
    pub(crate) fn poll_accept(
        &self,
        slot: &mut WaiterSlot,
        cx: &Context<'_>,
    ) -> Poll<Result<(Key, u32), ConnectionError>> {
        self.with(|inner| {
            if let Some(key) = inner.mux.accept() {
                inner.leave(WaitFor::Inbound, slot);
                return Poll::Ready(Ok((key, inner.mux.stream_id(key).unwrap_or_default())));
            }
            match inner.reason() {
                Some(reason) => Poll::Ready(Err(reason)),
                None => {
                    inner.park(WaitFor::Inbound, slot, cx);
                    Poll::Pending
                }
            }
        })
    }

    /// The result of the ping with this `ticket`; without one, asks for a ping now.
    pub(crate) fn poll_ping(
        &self,
        ticket: &mut Option<u64>,
        slot: &mut WaiterSlot,
        cx: &Context<'_>,
    ) -> Poll<Result<Duration, PingError>> {
        let now = self.now();
        self.with(|inner| match inner.mux.ping(ticket, now) {
            Ok(PingProgress::Answered(rtt)) => Poll::Ready(Ok(rtt)),
            Ok(PingProgress::TimedOut) => Poll::Ready(Err(PingError::TimedOut)),
            Err(reason) if inner.ended() => Poll::Ready(Err(reason.into())),
            Ok(PingProgress::Waiting) | Err(_) => {
                inner.park(WaitFor::Pong, slot, cx);
                Poll::Pending
            }
        })
    }

    /// The figures of a stream that has a handle.
    pub(crate) fn stream_stats(&self, key: Key) -> StreamStats {
        let now = self.now();
        self.inspect(|mux| mux.stream_stats(key, now)).unwrap_or_default()
    }

    /// Changes when a stream ends whose handle holds chunks of it, and which may not have been told.
    pub(crate) fn ends_with_held(&self) -> u64 {
        self.ends.load(Ordering::Relaxed)
    }

    /// Runs `f`, which must change nothing that a task waits for: no code of the user's is run.
    fn inspect<R>(&self, f: impl FnOnce(&mut Mux) -> R) -> R {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).mux)
    }

    /// Runs `f` with the lock held; then, without it, emits events, wakes tasks and releases the memory that `f` freed.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        // A panic with the lock held would be a bug of ours in one call; other calls continue with the state as it is.
        self.run(self.inner.lock().unwrap_or_else(PoisonError::into_inner), f)
    }

    /// The same for a task that need not block its thread: if the lock is taken, it is woken at once, so that its executor polls
    /// it again behind the tasks that are ready to run. After [`LOCK_ATTEMPTS`] of these it blocks all the same.
    pub(crate) fn poll_with<R>(
        &self,
        attempts: &mut LockAttempts,
        cx: &Context<'_>,
        f: impl FnOnce(&mut Inner) -> R,
    ) -> Poll<R> {
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => ready!(self.poll_lock(attempts, cx)),
        };
        Poll::Ready(self.run(inner, f))
    }

    /// The lock is taken.
    #[cold]
    fn poll_lock(&self, attempts: &mut LockAttempts, cx: &Context<'_>) -> Poll<MutexGuard<'_, Inner>> {
        if attempts.0 < LOCK_ATTEMPTS {
            attempts.0 = attempts.0.saturating_add(1);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        attempts.0 = 0;
        Poll::Ready(self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn run<R>(&self, mut inner: MutexGuard<'_, Inner>, f: impl FnOnce(&mut Inner) -> R) -> R {
        let result = f(&mut inner);
        let after = inner.after_unlock();
        drop(inner);
        match after {
            AfterUnlock::Wake(None) => {}
            AfterUnlock::Wake(Some(waker)) => waker.wake(),
            AfterUnlock::Deferred(deferred) => {
                self.ends.fetch_max(deferred.ends, Ordering::Relaxed);
                let spare = deferred.run(self.id);
                // The list is not worth waiting for the lock.
                if (1..=KEPT).contains(&spare.capacity())
                    && let Ok(mut inner) = self.inner.try_lock()
                {
                    inner.keep_spare(spare);
                }
            }
        }
        result
    }
}

impl Source for Shared {
    fn now(&self) -> Instant {
        Self::now(self)
    }

    fn stats_at(&self, now: Instant) -> ConnectionStats {
        self.inspect(|mux| mux.stats(now))
    }
}

impl Drop for Shared {
    /// The connection and all its streams are dropped: its figures are final.
    fn drop(&mut self) {
        if let Some(node) = &self.node {
            node.settle(self.id, &self.stats());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::memory::Reservation;
    use crate::mode::Mode;
    use crate::priority::Priority;
    use crate::proto::{Charge, Readiness};
    use std::sync::mpsc;
    use std::task::{Wake, Waker};
    use std::thread;

    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_that_finds_the_lock_taken_yields_then_blocks() {
        let config = Config::builder().build().expect("valid");
        let shared = Shared::new(Mux::new(Mode::Client, config, 1, Instant::now()));
        let (woken, mut attempts) = (Arc::new(Count(AtomicU64::new(0))), LockAttempts::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let ((held, is_held), (go, goes)) = (mpsc::channel(), mpsc::channel());
        thread::scope(|scope| {
            scope.spawn(|| {
                shared.with(move |_| {
                    held.send(()).expect("the other thread waits");
                    // An error says that the test has failed, which must not keep it from ending.
                    let _ = goes.recv();
                });
            });
            is_held.recv().expect("the lock is taken");
            let go = go;
            for turn in 1..=LOCK_ATTEMPTS {
                assert!(shared.poll_with(&mut attempts, &cx, |_| ()).is_pending());
                assert_eq!(woken.0.load(Ordering::Relaxed), u64::from(turn));
            }
            go.send(()).expect("the other thread waits");
            assert!(shared.poll_with(&mut attempts, &cx, |_| ()).is_ready());
        });
        // It has blocked once, and yields again.
        let mut attempts = LockAttempts(LOCK_ATTEMPTS);
        assert!(shared.poll_lock(&mut attempts, &cx).is_ready());
        assert_eq!(attempts.0, 0);
        assert_eq!(woken.0.load(Ordering::Relaxed), u64::from(LOCK_ATTEMPTS));
    }

    #[test]
    fn a_list_of_wakers_is_kept_only_for_a_few() {
        for (woken, kept) in [(1, false), (KEPT, true), (KEPT + 2, false)] {
            let config = Config::builder().accept_backlog(2 * KEPT).build().expect("valid");
            let bytes = Charge::new(&config).first_reservation();
            let shared = Shared::new(Mux::new(Mode::Client, config, 1, Instant::now()));
            let cx = Context::from_waker(Waker::noop());
            shared.with(|inner| {
                for _ in 0..woken {
                    let window = Reservation::new(&shared.memory, bytes, Priority::ALWAYS).expect("no limit");
                    let (key, _) = inner.mux.open(window).expect("opens");
                    inner.park_stream(key, Readiness::READ, &cx);
                    inner.mux.events_mut().ready.push((key, Readiness::READ));
                }
            });
            shared.with(|inner| assert_eq!(inner.spare_capacity() > 0, kept, "{woken} were woken"));
        }
    }
}
