//! Owns [`Waiters`]: the tasks that wait for one thing on a connection as a whole. It has no lock; wakers are stored and taken
//! out, and never woken here.

use std::task::{Context, Waker};

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
    /// Stores a task's waker. The waker of another task that it replaces is moved to `retired`.
    pub(super) fn park(&mut self, slot: &mut WaiterSlot, cx: &Context<'_>, retired: &mut Vec<Waker>) {
        match slot {
            WaiterSlot::Single => match &mut self.single {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                waker => retired.extend(waker.replace(cx.waker().clone())),
            },
            WaiterSlot::Ticket(ticket) => {
                let ticket = *ticket.get_or_insert_with(|| {
                    self.tickets = self.tickets.wrapping_add(1);
                    self.tickets
                });
                match self.position(ticket) {
                    Ok(at) => {
                        if let Some((_, old)) = self.callers.get_mut(at).filter(|(_, old)| !old.will_wake(cx.waker())) {
                            retired.push(std::mem::replace(old, cx.waker().clone()));
                        }
                    }
                    Err(at) => self.callers.insert(at, (ticket, cx.waker().clone())),
                }
            }
        }
    }

    /// The caller with this slot waits no more.
    pub(super) fn leave(&mut self, slot: &mut WaiterSlot, retired: &mut Vec<Waker>) {
        match slot {
            WaiterSlot::Single => retired.extend(self.single.take()),
            WaiterSlot::Ticket(ticket) => {
                let at = ticket.take().and_then(|ticket| self.position(ticket).ok());
                retired.extend(at.map(|at| self.callers.remove(at).1));
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
        let (mut waiters, mut retired, clock) = (Waiters::default(), Vec::new(), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = (0..4).map(|_| Arc::new(Task { clock: clock.clone(), woken: AtomicU64::new(0) })).collect();
        let mut slots = [const { WaiterSlot::Ticket(None) }; 4];
        let mut park = |waiters: &mut Waiters, which: usize| {
            let waker = Waker::from(tasks[which].clone());
            waiters.park(&mut slots[which], &Context::from_waker(&waker), &mut retired);
        };
        (0..4).for_each(|which| park(&mut waiters, which));
        assert_eq!(waiters.take().map(Waker::wake).count(), 4);
        // Callers who wait again keep their position, in whatever order they are polled.
        [2, 0, 3, 1].into_iter().for_each(|which| park(&mut waiters, which));
        assert_eq!(waiters.take().map(Waker::wake).count(), 4);
        let order: Vec<_> = tasks.iter().map(|task| task.woken.load(Ordering::Relaxed)).collect();
        assert_eq!(order, [5, 6, 7, 8]);
        assert!(waiters.is_empty() && retired.is_empty());
    }

    #[test]
    fn a_caller_that_leaves_leaves_nothing_behind() {
        let (mut waiters, mut retired) = (Waiters::default(), Vec::new());
        let cx = Context::from_waker(Waker::noop());
        let mut slots = [const { WaiterSlot::Ticket(None) }; 3];
        slots.iter_mut().for_each(|slot| waiters.park(slot, &cx, &mut retired));
        waiters.park(&mut slots[1], &cx, &mut retired);
        assert!(retired.is_empty(), "the same waker is not cloned again");
        slots.iter_mut().for_each(|slot| waiters.leave(slot, &mut retired));
        assert_eq!((waiters.is_empty(), retired.len()), (true, 3));
        slots.iter_mut().for_each(|slot| waiters.leave(slot, &mut retired));
        waiters.shrink();
        assert_eq!(waiters.callers.capacity(), 0);
    }
}
