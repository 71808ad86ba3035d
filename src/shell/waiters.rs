//! Owns [`Waiters`]: the tasks that wait for one thing on a connection as a whole. It has no lock; wakers are stored and taken
//! out, and never woken here.
//!
//! It holds Y-OPEN-15 on any link. A single slot, as for `poll_*`, would leave all callers but the last waiting.

use std::task::Waker;

/// For so many callers storage is kept: as many as tasks that open or accept side by side, and 384 bytes.
const KEPT: usize = 16;

/// The tasks that wait to accept a stream, to open one, or for a pong.
///
/// Y-OPEN-15: an event wakes all of them, and each tries again, in the order in which they came as far as their tasks are polled
/// in the order in which they were woken. So no task is held up by a future that is kept and not polled. A list
/// of our own, under the connection's lock, where `schedules/` sees it: its wakers are woken with no lock held, so that a waker may
/// drop its task, and with it another entry of the same list.
#[derive(Default)]
pub(super) struct Waiters {
    /// Of a `poll_*` method of the connection: the last caller's.
    single: Option<Waker>,
    /// Of the futures of a session and of pings, by their tickets.
    callers: Vec<(u64, Waker)>,
    tickets: u64,
}

/// Where the waker of a caller is stored.
#[derive(Debug)]
pub(crate) enum WaiterSlot {
    /// In the one slot of a `poll_*` method of the connection, which the last caller takes over.
    Single,
    /// In a slot of its own, by a ticket that is drawn at the first wait.
    Ticket(Option<u64>),
}

impl WaiterSlot {
    /// Whether a waker may still be stored there.
    pub(crate) const fn may_wait(&self) -> bool {
        matches!(self, Self::Single | Self::Ticket(Some(_)))
    }
}

impl Waiters {
    /// Whether the waker stored in this slot wakes the same task.
    pub(super) fn will_wake(&self, slot: &WaiterSlot, waker: &Waker) -> bool {
        let stored = match slot {
            WaiterSlot::Single => self.single.as_ref(),
            WaiterSlot::Ticket(ticket) => {
                let at = ticket.and_then(|ticket| self.position(ticket).ok());
                at.and_then(|at| self.callers.get(at)).map(|(_, stored)| stored)
            }
        };
        stored.is_some_and(|stored| stored.will_wake(waker))
    }

    /// Stores a task's waker; returns the one that it replaces, to be dropped with no lock held.
    pub(super) fn park(&mut self, slot: &mut WaiterSlot, waker: Waker) -> Option<Waker> {
        let WaiterSlot::Ticket(ticket) = slot else { return self.single.replace(waker) };
        let ticket = *ticket.get_or_insert_with(|| {
            self.tickets = self.tickets.wrapping_add(1);
            self.tickets
        });
        match self.position(ticket) {
            Ok(at) => self.callers.get_mut(at).map(|(_, stored)| std::mem::replace(stored, waker)),
            Err(at) => {
                self.callers.insert(at, (ticket, waker));
                None
            }
        }
    }

    /// The caller with this slot waits no more; returns its waker, to be dropped with no lock held.
    pub(super) fn leave(&mut self, slot: &mut WaiterSlot) -> Option<Waker> {
        match slot {
            WaiterSlot::Single => self.single.take(),
            WaiterSlot::Ticket(ticket) => {
                let at = ticket.take().and_then(|ticket| self.position(ticket).ok())?;
                Some(self.callers.remove(at).1)
            }
        }
    }

    /// Takes all wakers out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> {
        if self.callers.len() < self.callers.capacity() / 4 {
            self.callers.shrink_to(KEPT);
        }
        self.single.take().into_iter().chain(self.callers.drain(..).map(|(_, waker)| waker))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.single.is_none() && self.callers.is_empty()
    }

    /// Frees storage that holds nothing.
    pub(super) fn shrink(&mut self) {
        self.callers.shrink_to_fit();
    }

    fn position(&self, ticket: u64) -> Result<usize, usize> {
        self.callers.binary_search_by_key(&ticket, |(ticket, _)| *ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    /// Records when it was woken.
    struct Task {
        clock: Arc<AtomicU64>,
        woken: AtomicU64,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.woken.store(self.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_are_woken_in_the_order_in_which_they_came() {
        let (mut waiters, clock) = (Waiters::default(), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = (0..4).map(|_| Arc::new(Task { clock: clock.clone(), woken: AtomicU64::new(0) })).collect();
        let mut slots = [const { WaiterSlot::Ticket(None) }; 4];
        let mut park = |waiters: &mut Waiters, which: usize| {
            assert!(waiters.park(&mut slots[which], Waker::from(tasks[which].clone())).is_none());
        };
        (0..4).for_each(|which| park(&mut waiters, which));
        assert_eq!(waiters.take().map(Waker::wake).count(), 4);
        // Callers who wait again keep their position, in whatever order they are polled.
        [2, 0, 3, 1].into_iter().for_each(|which| park(&mut waiters, which));
        assert_eq!(waiters.take().map(Waker::wake).count(), 4);
        let order: Vec<_> = tasks.iter().map(|task| task.woken.load(Ordering::Relaxed)).collect();
        assert_eq!(order, [5, 6, 7, 8]);
        assert!(waiters.is_empty());
    }

    #[test]
    fn a_caller_that_leaves_leaves_nothing_behind() {
        let (mut waiters, waker) = (Waiters::default(), Waker::noop());
        let mut slots = [const { WaiterSlot::Ticket(None) }; 3];
        assert!(!waiters.will_wake(&slots[1], waker));
        slots.iter_mut().for_each(|slot| assert!(waiters.park(slot, waker.clone()).is_none()));
        assert!(waiters.will_wake(&slots[1], waker), "the same waker is not cloned again");
        assert!(slots.iter_mut().all(|slot| waiters.leave(slot).is_some()) && waiters.is_empty());
        assert!(slots.iter_mut().all(|slot| waiters.leave(slot).is_none()));
        waiters.shrink();
        assert_eq!(waiters.callers.capacity(), 0);
    }
}
