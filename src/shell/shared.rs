//! Owns [`Shared`]: the one mutex of a connection, and the wakers of everyone who waits on it.
//!
//! [`Shared::with`] and, for who need not wait, [`Shared::poll_with`] are the ways in. They run a closure under the lock, and
//! only when the lock is open again log, wake, let go of wakers and give memory back: all of these run code that is not ours.

use super::after_unlock::{AfterUnlock, Deferred};
use super::waiters::{Place, Waiters};
use super::waiting::Waiting;
use crate::clock::Time;
use crate::error::{ConnectionError, PingError};
use crate::memory::MemoryManager;
use crate::proto::limits::LOCK_TURNS;
use crate::proto::{Key, Mux, PingProgress, Ready};
use crate::stats::{ConnectionStats, NodeStats, Source, StreamStats};
use crate::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use web_time::Instant;

/// For more events than this no storage is kept. Most batches concern a few streams; it stops a burst that once woke all of a
/// connection's from holding its list for ever, beside the fixed 256 KiB of a connection.
const MANY: usize = 256;

/// One end of a connection, shared by its driver and its streams.
pub(crate) struct Shared {
    id: u64,
    /// Who grants the memory of this connection.
    memory: Arc<dyn MemoryManager>,
    time: Time,
    /// What [`Mux::ends_with_held`] says, for handles that do not take the lock.
    ends: AtomicU64,
    /// Where it is counted in the end.
    node: Option<NodeStats>,
    inner: Mutex<Inner>,
}

/// What the mutex guards.
pub(crate) struct Inner {
    pub(crate) mux: Mux,
    /// The driver is done: everything that waits on the connection gets its reason now.
    ended: bool,
    driver: Slot,
    /// Whether the driver waits for the transport to take what is written: more to send is no news then.
    full: bool,
    inbound: Waiters,
    outbound: Waiters,
    pings: Waiters,
    /// Whether any of those who open waits for memory: the driver tells them when it is worth another try.
    lacks_memory: bool,
    streams: Waiting,
    retired: Vec<Waker>,
    /// Room for the wakers of all whom a read concerns.
    room: Vec<Waker>,
}

/// What callers wait for on a connection as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A stream to accept.
    Inbound,
    /// A stream that can be opened.
    Outbound,
    /// The end of a ping.
    Pong,
}

/// Room for one waker.
#[derive(Default)]
struct Slot(Option<Waker>);

/// How often a task has let others go first since it last waited for the lock.
#[derive(Debug, Default)]
pub(crate) struct Yields(u8);

impl Shared {
    pub(crate) fn new(mux: Mux) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let time = mux.config().clock().clone();
        let node = mux.config().stats().cloned();
        let memory = mux.config().memory();
        let memory = memory.for_connection().unwrap_or_else(|| memory.clone());
        let inner = Inner {
            mux,
            ended: false,
            driver: Slot::default(),
            full: false,
            inbound: Waiters::default(),
            outbound: Waiters::default(),
            pings: Waiters::default(),
            lacks_memory: false,
            streams: Waiting::default(),
            retired: Vec::new(),
            room: Vec::new(),
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, memory, time, ends: AtomicU64::new(0), node, inner: Mutex::new(inner) }
    }

    /// A number that no other connection of this process has.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Who grants the memory of this connection.
    pub(crate) const fn memory(&self) -> &Arc<dyn MemoryManager> {
        &self.memory
    }

    /// The clock that the connection goes by.
    pub(crate) const fn time(&self) -> &Time {
        &self.time
    }

    /// The time, by that clock: to be asked before the lock is taken.
    pub(crate) fn now(&self) -> Instant {
        self.time.now()
    }

    /// The oldest stream that waits to be accepted, with its id; or why there will be none.
    pub(crate) fn poll_accept(&self, place: &mut Place, cx: &Context<'_>) -> Poll<Result<(Key, u32), ConnectionError>> {
        self.with(|inner| {
            if let Some(key) = inner.mux.accept() {
                inner.leave(What::Inbound, place);
                return Poll::Ready(Ok((key, inner.mux.stream_id(key).unwrap_or_default())));
            }
            match inner.reason() {
                Some(reason) => Poll::Ready(Err(reason)),
                None => {
                    inner.park(What::Inbound, place, cx);
                    Poll::Pending
                }
            }
        })
    }

    /// How long the ping took that `ticket` is for; without one it is asked for now.
    pub(crate) fn poll_ping(
        &self,
        ticket: &mut Option<u64>,
        place: &mut Place,
        cx: &Context<'_>,
    ) -> Poll<Result<Duration, PingError>> {
        let now = self.now();
        self.with(|inner| match inner.mux.ping(ticket, now) {
            Ok(PingProgress::Answered(rtt)) => Poll::Ready(Ok(rtt)),
            Ok(PingProgress::TimedOut) => Poll::Ready(Err(PingError::TimedOut)),
            Err(reason) if inner.ended() => Poll::Ready(Err(reason.into())),
            Ok(PingProgress::Waiting) | Err(_) => {
                inner.park(What::Pong, place, cx);
                Poll::Pending
            }
        })
    }

    /// The figures of a stream that has a handle.
    pub(crate) fn stream_stats(&self, key: Key) -> StreamStats {
        let now = self.now();
        self.look(|mux| mux.stream_stats(key, now)).unwrap_or_default()
    }

    /// Changes when a stream ends whose handle holds what it has taken off it, and perhaps was not told.
    pub(crate) fn ends_with_held(&self) -> u64 {
        self.ends.load(Ordering::Relaxed)
    }

    /// Looks, and changes nothing that anybody waits for: no code but ours is run.
    fn look<R>(&self, f: impl FnOnce(&mut Mux) -> R) -> R {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).mux)
    }

    /// Runs `f` under the lock; then, without it, says what there is to say, wakes whom that concerns and gives back the memory
    /// it freed.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        // A panic under the lock would be a bug of ours in one call; the others go on with what state there is.
        self.run(self.inner.lock().unwrap_or_else(PoisonError::into_inner), f)
    }

    /// The same for a task that need not keep its thread waiting: where somebody else holds the lock, it is woken at once,
    /// behind whoever else is ready to run, and has its turn then. Now and then it waits all the same.
    pub(crate) fn poll_with<R>(
        &self,
        yields: &mut Yields,
        cx: &Context<'_>,
        f: impl FnOnce(&mut Inner) -> R,
    ) -> Poll<R> {
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => ready!(self.poll_lock(yields, cx)),
        };
        Poll::Ready(self.run(inner, f))
    }

    /// Somebody else holds the lock.
    #[cold]
    fn poll_lock(&self, yields: &mut Yields, cx: &Context<'_>) -> Poll<MutexGuard<'_, Inner>> {
        if yields.0 < LOCK_TURNS {
            yields.0 = yields.0.saturating_add(1);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        yields.0 = 0;
        Poll::Ready(self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn run<R>(&self, mut inner: MutexGuard<'_, Inner>, f: impl FnOnce(&mut Inner) -> R) -> R {
        let result = f(&mut inner);
        let effects = inner.effects();
        drop(inner);
        match effects {
            AfterUnlock::None => {}
            AfterUnlock::One(waker) => waker.wake(),
            AfterUnlock::Many(concerned) => {
                self.ends.fetch_max(concerned.ends, Ordering::Relaxed);
                let room = concerned.run(self.id);
                // Not worth to wait for.
                if (1..=MANY).contains(&room.capacity())
                    && let Ok(mut inner) = self.inner.try_lock()
                {
                    inner.room = room;
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
        self.look(|mux| mux.stats(now))
    }
}

impl Drop for Shared {
    /// The last of its streams is gone, too: what it has counted is final.
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

impl Inner {
    /// Puts the driver to sleep: it has seen, in this critical section, that there is nothing to do.
    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        let events = self.mux.events_mut();
        (events.attention, events.outlook, self.full) = (false, false, false);
        self.driver.park(cx, &mut self.retired);
    }

    /// The same for one that waits for the transport: it is woken by what it waits for besides, and by more to send only if
    /// it is parked for that already.
    pub(crate) fn park_full_driver(&mut self, cx: &Context<'_>) {
        self.full |= !self.driver.is_taken();
        self.mux.events_mut().outlook = false;
        self.driver.park(cx, &mut self.retired);
    }

    /// Parks a caller: it has seen, in this critical section, that there is nothing of that.
    pub(crate) fn park(&mut self, what: What, place: &mut Place, cx: &Context<'_>) {
        let events = self.mux.events_mut();
        let (happened, waiters) = match what {
            What::Inbound => (&mut events.incoming, &mut self.inbound),
            What::Outbound => (&mut events.openable, &mut self.outbound),
            What::Pong => (&mut events.pong, &mut self.pings),
        };
        *happened = false;
        waiters.park(place, cx, &mut self.retired);
    }

    /// A caller waits no more, be it that it has what it waited for.
    pub(crate) fn leave(&mut self, what: What, place: &mut Place) {
        if !place.is_taken() {
            return;
        }
        match what {
            What::Inbound => self.inbound.leave(place, &mut self.retired),
            What::Outbound => self.outbound.leave(place, &mut self.retired),
            What::Pong => self.pings.leave(place, &mut self.retired),
        }
        if matches!(what, What::Outbound) && self.lacks_memory && self.outbound.is_empty() {
            // What is released is for others.
            self.lacks_memory = false;
            self.mux.events_mut().outlook = true;
        }
    }

    /// Parks a caller who opens a stream and was refused the memory for it.
    pub(crate) fn park_for_memory(&mut self, place: &mut Place, cx: &Context<'_>) {
        self.park(What::Outbound, place, cx);
        self.mux.events_mut().outlook |= !self.lacks_memory;
        self.lacks_memory = true;
    }

    /// Whether somebody who opens a stream waits for memory.
    pub(crate) const fn lacks_memory(&self) -> bool {
        self.lacks_memory
    }

    /// There may be memory for a stream: whoever opens tries again. Says whether anybody does.
    pub(crate) fn memory_released(&mut self) -> bool {
        self.mux.events_mut().openable = true;
        std::mem::replace(&mut self.lacks_memory, false)
    }

    /// Parks a task that waits for one thing on a stream.
    pub(crate) fn park_stream(&mut self, key: Key, what: Ready, cx: &Context<'_>) {
        self.streams.park(key, what, cx, &mut self.retired);
    }

    /// Nothing moves: gives back what holds nothing.
    pub(crate) fn rest(&mut self) {
        self.streams.rest();
        [&mut self.inbound, &mut self.outbound, &mut self.pings].into_iter().for_each(Waiters::rest);
        self.room = Vec::new();
    }

    /// The stream has no handle any more.
    pub(crate) fn forget(&mut self, key: Key) {
        self.retired.extend(self.streams.take(key, Ready::ALL));
    }

    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }

    /// Why the connection has ended, once the peer has been told as well as can be.
    pub(crate) fn reason(&self) -> Option<ConnectionError> {
        self.mux.closed().filter(|_| self.ended).cloned()
    }

    /// The driver is done.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        let events = self.mux.events_mut();
        (events.incoming, events.openable, events.pong) = (true, true, true);
    }

    /// That nobody is concerned, as most often, is found out here, and the rest out of line.
    fn effects(&mut self) -> AfterUnlock {
        let (driver, others) = (self.calls_driver(), self.calls_others());
        let events = self.mux.events_mut();
        let still =
            events.ready.is_empty() && events.released.is_empty() && events.notes.is_empty() && self.retired.is_empty();
        if still && !driver && !others { AfterUnlock::None } else { self.concerned() }
    }

    /// One task alone is woken without a list.
    #[inline(never)]
    fn concerned(&mut self) -> AfterUnlock {
        let (driver, others) = (self.calls_driver(), self.calls_others());
        let events = self.mux.events_mut();
        let more = !events.released.is_empty() || !events.notes.is_empty() || !self.retired.is_empty();
        if others || more || events.ready.capacity() > MANY {
            return AfterUnlock::Many(self.collect());
        }
        let waker = match events.ready.as_slice() {
            [] => {
                (events.attention, events.outlook) = (false, false);
                self.driver.0.take()
            }
            &[(key, what)] if what.is_single() && !driver => {
                events.ready.clear();
                self.streams.take(key, what).next()
            }
            _ => return AfterUnlock::Many(self.collect()),
        };
        waker.map_or(AfterUnlock::None, AfterUnlock::One)
    }

    /// Whether the driver is parked, and there is work for it.
    fn calls_driver(&mut self) -> bool {
        let (full, events) = (self.full, self.mux.events_mut());
        (events.outlook || events.attention && !full) && self.driver.is_taken()
    }

    /// Whether anybody else waits for what has happened to the connection as a whole.
    fn calls_others(&mut self) -> bool {
        let events = self.mux.events_mut();
        (events.incoming && !self.inbound.is_empty())
            || (events.openable && !self.outbound.is_empty())
            || (events.pong && !self.pings.is_empty())
    }

    fn collect(&mut self) -> Deferred {
        let (others, retired) = (std::mem::take(&mut self.room), std::mem::take(&mut self.retired));
        let ends = self.mux.ends_with_held();
        let mut effects = Deferred { others, retired, ends, ..Deferred::default() };
        let events = self.mux.events_mut();
        // One of them is kept apart.
        effects.others.reserve_exact(events.ready.len().saturating_sub(1));
        for (key, what) in events.ready.drain(..) {
            self.streams.take(key, what).for_each(|waker| effects.wake(waker));
        }
        if events.ready.capacity() > MANY {
            events.ready = Vec::new();
        }
        effects.released = std::mem::take(&mut events.released);
        effects.notes = std::mem::take(&mut events.notes);
        let connection = [
            (&mut events.incoming, &mut self.inbound),
            (&mut events.openable, &mut self.outbound),
            (&mut events.pong, &mut self.pings),
        ];
        for (happened, waiters) in connection {
            // An event that finds nobody waiting is kept: whoever comes looks at the state itself.
            if *happened && !waiters.is_empty() {
                *happened = false;
                waiters.take().for_each(|waker| effects.wake(waker));
            }
        }
        if self.calls_driver() {
            let events = self.mux.events_mut();
            (events.attention, events.outlook) = (false, false);
            self.driver.0.take().into_iter().for_each(|waker| effects.wake(waker));
        }
        effects
    }
}

impl Slot {
    const fn is_taken(&self) -> bool {
        self.0.is_some()
    }

    fn park(&mut self, cx: &Context<'_>, retired: &mut Vec<Waker>) {
        if !self.0.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            retired.extend(self.0.replace(cx.waker().clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::memory::Reservation;
    use crate::mode::Mode;
    use crate::priority::Priority;
    use crate::proto::first_reservation;
    use std::sync::mpsc;
    use std::task::Wake;
    use std::thread;

    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_that_finds_the_lock_taken_comes_back_a_few_times_and_then_waits() {
        let config = Config::builder().build().expect("valid");
        let shared = Shared::new(Mux::new(Mode::Client, config, 1, Instant::now()));
        let (woken, mut yields) = (Arc::new(Count(AtomicU64::new(0))), Yields::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let ((held, is_held), (go, goes)) = (mpsc::channel(), mpsc::channel());
        thread::scope(|scope| {
            scope.spawn(|| {
                shared.with(move |_| {
                    held.send(()).expect("somebody waits");
                    // An error says that the test has failed, which must not keep it from ending.
                    let _ = goes.recv();
                });
            });
            is_held.recv().expect("the lock is taken");
            let go = go;
            for turn in 1..=LOCK_TURNS {
                assert!(shared.poll_with(&mut yields, &cx, |_| ()).is_pending());
                assert_eq!(woken.0.load(Ordering::Relaxed), u64::from(turn));
            }
            go.send(()).expect("somebody waits");
            assert!(shared.poll_with(&mut yields, &cx, |_| ()).is_ready());
        });
        // It has waited once, and lets others go first again.
        let mut yields = Yields(LOCK_TURNS);
        assert!(shared.poll_lock(&mut yields, &cx).is_ready());
        assert_eq!(yields.0, 0);
        assert_eq!(woken.0.load(Ordering::Relaxed), u64::from(LOCK_TURNS));
    }

    #[test]
    fn room_for_wakers_is_kept_for_a_few_and_not_for_many() {
        for (woken, kept) in [(1, false), (MANY, true), (MANY + 2, false)] {
            let config = Config::builder().accept_backlog(2 * MANY).build().expect("valid");
            let bytes = first_reservation(&config);
            let shared = Shared::new(Mux::new(Mode::Client, config, 1, Instant::now()));
            let cx = Context::from_waker(Waker::noop());
            shared.with(|inner| {
                for _ in 0..woken {
                    let window = Reservation::new(&shared.memory, bytes, Priority::ALWAYS).expect("no limit");
                    let (key, _) = inner.mux.open(window).expect("opens");
                    inner.park_stream(key, Ready::READ, &cx);
                    inner.mux.events_mut().ready.push((key, Ready::READ));
                }
            });
            shared.with(|inner| assert_eq!(inner.room.capacity() > 0, kept, "{woken} were woken"));
        }
    }
}
