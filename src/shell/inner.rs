//! Owns [`Inner`]: what the mutex of a connection guards, which is the core and the wakers of all tasks that wait. It wakes
//! nothing: what a critical section leaves to be done is an [`AfterUnlock`].

use super::after_unlock::{AfterUnlock, Deferred};
use super::waiters::{WaiterSlot, Waiters};
use super::wakers::StreamWakers;
use crate::error::ConnectionError;
use crate::proto::{FreeList, Key, Mux, Readiness};
use std::task::{Context, Waker};

/// For more events or wakers than this no storage is kept: 4 KiB of events, of the 256 KiB that a connection may take beside what
/// is reserved.
pub(super) const KEPT: usize = 256;

/// The state of a connection behind its mutex.
pub(crate) struct Inner {
    pub(crate) mux: Mux,
    /// The driver is done: every task that waits on the connection gets the reason now.
    ended: bool,
    driver: Slot,
    /// Whether the driver waits for the transport to take what is written: it is not woken for more to send then.
    driver_writes: bool,
    inbound: Waiters,
    outbound: Waiters,
    pings: Waiters,
    /// Whether a task that opens a stream waits for memory: the driver wakes it when it is worth another try.
    lacks_memory: bool,
    streams: StreamWakers,
    /// Wakers that are not used any more: dropping one runs code of the user's.
    retired: Vec<Waker>,
    /// An empty list, to be used for the wakers that one read wakes.
    spare: FreeList<Vec<Waker>>,
}

/// What callers wait for on a connection as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaitFor {
    /// A stream to accept.
    Inbound,
    /// A stream that can be opened.
    Outbound,
    /// The end of a ping.
    Pong,
}

/// The waker of the driver, while it is parked.
#[derive(Default)]
struct Slot(Option<Waker>);

impl Inner {
    pub(super) fn new(mux: Mux) -> Self {
        Self {
            mux,
            ended: false,
            driver: Slot::default(),
            driver_writes: false,
            inbound: Waiters::default(),
            outbound: Waiters::default(),
            pings: Waiters::default(),
            lacks_memory: false,
            streams: StreamWakers::default(),
            retired: Vec::new(),
            spare: FreeList::default(),
        }
    }

    /// Keeps an emptied list for the next wakers.
    pub(super) fn keep_spare(&mut self, spare: Vec<Waker>) {
        // Only one critical section at a time fills a list.
        self.spare.put(spare, 1);
    }

    #[cfg(test)]
    pub(super) fn spare_capacity(&self) -> usize {
        self.spare.iter().map(Vec::capacity).sum()
    }

    /// Parks the driver, which has seen in this critical section that there is nothing to do.
    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        let events = self.mux.events_mut();
        (events.attention, events.outlook, self.driver_writes) = (false, false, false);
        self.driver.park(cx, &mut self.retired);
    }

    /// Parks the driver, which waits for the transport. It is woken when what it waits for besides changes, and for more to send
    /// only if it is parked for that already.
    pub(crate) fn park_writing_driver(&mut self, cx: &Context<'_>) {
        self.driver_writes |= !self.driver.is_taken();
        self.mux.events_mut().outlook = false;
        self.driver.park(cx, &mut self.retired);
    }

    /// Parks a caller, which has seen in this critical section that it has to wait.
    pub(crate) fn park(&mut self, what: WaitFor, slot: &mut WaiterSlot, cx: &Context<'_>) {
        let (happened, waiters) = self.waiters(what);
        *happened = false;
        if !waiters.will_wake(slot, cx.waker()) {
            let replaced = waiters.park(slot, cx.waker().clone());
            self.retired.extend(replaced);
        }
    }

    /// Whether it has happened, and the callers that wait for it.
    const fn waiters(&mut self, what: WaitFor) -> (&mut bool, &mut Waiters) {
        let events = self.mux.events_mut();
        match what {
            WaitFor::Inbound => (&mut events.incoming, &mut self.inbound),
            WaitFor::Outbound => (&mut events.openable, &mut self.outbound),
            WaitFor::Pong => (&mut events.pong, &mut self.pings),
        }
    }

    /// A caller waits no more, whether it has what it waited for or not.
    pub(crate) fn leave(&mut self, what: WaitFor, slot: &mut WaiterSlot) {
        if !slot.may_wait() {
            return;
        }
        let left = self.waiters(what).1.leave(slot);
        self.retired.extend(left);
        if matches!(what, WaitFor::Outbound) && self.lacks_memory && self.outbound.is_empty() {
            // The driver's wait for memory has no user any more.
            self.lacks_memory = false;
            self.mux.events_mut().outlook = true;
        }
    }

    /// Parks a caller that opens a stream and was refused the memory for it.
    pub(crate) fn park_for_memory(&mut self, slot: &mut WaiterSlot, cx: &Context<'_>) {
        self.park(WaitFor::Outbound, slot, cx);
        self.mux.events_mut().outlook |= !self.lacks_memory;
        self.lacks_memory = true;
    }

    /// Whether a caller that opens a stream waits for memory.
    pub(crate) const fn lacks_memory(&self) -> bool {
        self.lacks_memory
    }

    /// There may be memory for a stream: the callers that wait to open one try again. Returns whether there are any.
    pub(crate) fn memory_released(&mut self) -> bool {
        self.mux.events_mut().openable = true;
        std::mem::replace(&mut self.lacks_memory, false)
    }

    /// Parks a task that waits on a stream.
    pub(crate) fn park_stream(&mut self, key: Key, what: Readiness, cx: &Context<'_>) {
        self.streams.park(key, what, cx, &mut self.retired);
    }

    /// Frees storage that holds nothing, since the connection is idle.
    pub(crate) fn shrink(&mut self) {
        self.streams.shrink();
        [&mut self.inbound, &mut self.outbound, &mut self.pings].into_iter().for_each(Waiters::shrink);
        self.spare.clear();
    }

    /// Takes out the wakers of a stream whose handle is dropped.
    pub(crate) fn forget(&mut self, key: Key) {
        self.retired.extend(self.streams.take(key, Readiness::ALL));
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

    /// What is to be done after the lock is released. That it is nothing, which is the most frequent case, is found here, and the
    /// rest out of line.
    pub(super) fn after_unlock(&mut self) -> AfterUnlock {
        let (driver, callers) = (self.wakes_driver(), self.wakes_callers());
        let events = self.mux.events_mut();
        let nothing =
            events.ready.is_empty() && events.released.is_empty() && events.notes.is_empty() && self.retired.is_empty();
        if nothing && !driver && !callers { AfterUnlock::Wake(None) } else { self.effects() }
    }

    /// If all there is to do is to wake one task, that needs no list.
    #[inline(never)]
    fn effects(&mut self) -> AfterUnlock {
        let (driver, callers) = (self.wakes_driver(), self.wakes_callers());
        let events = self.mux.events_mut();
        let more = !events.released.is_empty() || !events.notes.is_empty() || !self.retired.is_empty();
        if callers || more || events.ready.capacity() > KEPT {
            return AfterUnlock::Deferred(self.collect());
        }
        AfterUnlock::Wake(match events.ready.as_slice() {
            [] => {
                (events.attention, events.outlook) = (false, false);
                self.driver.0.take()
            }
            &[(key, what)] if what.is_single() && !driver => {
                events.ready.clear();
                self.streams.take(key, what).next()
            }
            _ => return AfterUnlock::Deferred(self.collect()),
        })
    }

    /// Whether the driver is parked, and there is work for it.
    fn wakes_driver(&mut self) -> bool {
        let (writes, events) = (self.driver_writes, self.mux.events_mut());
        (events.outlook || events.attention && !writes) && self.driver.is_taken()
    }

    /// Whether a caller waits for what has happened to the connection as a whole.
    fn wakes_callers(&mut self) -> bool {
        let events = self.mux.events_mut();
        (events.incoming && !self.inbound.is_empty())
            || (events.openable && !self.outbound.is_empty())
            || (events.pong && !self.pings.is_empty())
    }

    fn collect(&mut self) -> Deferred {
        let (others, retired) = (self.spare.take().unwrap_or_default(), std::mem::take(&mut self.retired));
        let ends = self.mux.ends_with_held();
        let mut deferred = Deferred { others, retired, ends, ..Deferred::default() };
        let events = self.mux.events_mut();
        // The first waker is not in the list.
        deferred.others.reserve_exact(events.ready.len().saturating_sub(1));
        for (key, what) in events.ready.drain(..) {
            self.streams.take(key, what).for_each(|waker| deferred.wake(waker));
        }
        if events.ready.capacity() > KEPT {
            events.ready = Vec::new();
        }
        deferred.released = std::mem::take(&mut events.released);
        deferred.notes = std::mem::take(&mut events.notes);
        for what in [WaitFor::Inbound, WaitFor::Outbound, WaitFor::Pong] {
            let (happened, waiters) = self.waiters(what);
            // An event that no caller waits for is kept: a caller that comes later looks at the state itself.
            if *happened && !waiters.is_empty() {
                *happened = false;
                waiters.take().for_each(|waker| deferred.wake(waker));
            }
        }
        if self.wakes_driver() {
            let events = self.mux.events_mut();
            (events.attention, events.outlook) = (false, false);
            self.driver.0.take().into_iter().for_each(|waker| deferred.wake(waker));
        }
        deferred
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
