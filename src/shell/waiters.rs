//! Owns [`Waiters`]: who waits for one thing on a connection as a whole. No lock; wakers are put away and taken out, and
//! never woken.

use std::task::{Context, Waker};

/// Callers for whom room is kept: 24 bytes each, so less than 400 bytes a list stay after a crowd has left.
const MANY: usize = 16;

/// Those who wait for a stream to accept, to open one, or for a pong.
///
/// Y-OPEN-15: whatever happens wakes all of them, and each looks for itself, in the order in which they came as far as their tasks are
/// polled in that in which they were woken. So nobody is held up by a future that is kept and not polled: it cannot be told
/// from the others. A list under the lock of the connection, since a caller then waits from the moment at which it has seen
/// that there is nothing, and `schedules/` sees both.
#[derive(Default)]
pub(super) struct Waiters {
    /// Of the connection's own `poll_*` method: the last caller's.
    own: Option<Waker>,
    /// Of the futures of a session, by their tickets.
    callers: Vec<(u64, Waker)>,
    tickets: u64,
}

/// Where somebody waits.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the one place of the connection itself, which whoever comes takes over.
    Own,
    /// Among the callers of a session; the ticket is drawn at the first wait.
    Among(Option<u64>),
}

impl Place {
    /// Whether somebody may still wait there.
    pub(crate) const fn is_taken(&self) -> bool {
        matches!(self, Self::Own | Self::Among(Some(_)))
    }
}

impl Waiters {
    /// Puts a task's waker away, and another one that was there to those that are retired.
    pub(super) fn park(&mut self, place: &mut Place, cx: &Context<'_>, retired: &mut Vec<Waker>) {
        match place {
            Place::Own => match &mut self.own {
                Some(own) if own.will_wake(cx.waker()) => {}
                own => retired.extend(own.replace(cx.waker().clone())),
            },
            Place::Among(ticket) => {
                let ticket = *ticket.get_or_insert_with(|| {
                    self.tickets = self.tickets.wrapping_add(1);
                    self.tickets
                });
                match self.position(ticket) {
                    Ok(at) => {
                        if let Some((_, own)) = self.callers.get_mut(at).filter(|(_, own)| !own.will_wake(cx.waker())) {
                            retired.push(std::mem::replace(own, cx.waker().clone()));
                        }
                    }
                    Err(at) => self.callers.insert(at, (ticket, cx.waker().clone())),
                }
            }
        }
    }

    /// Whoever has this place waits no more.
    pub(super) fn leave(&mut self, place: &mut Place, retired: &mut Vec<Waker>) {
        match place {
            Place::Own => retired.extend(self.own.take()),
            Place::Among(ticket) => {
                let at = ticket.take().and_then(|ticket| self.position(ticket).ok());
                retired.extend(at.map(|at| self.callers.remove(at).1));
            }
        }
    }

    /// Takes all wakers out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> {
        if self.callers.len() < self.callers.capacity() / 4 {
            self.callers.shrink_to(MANY);
        }
        self.own.take().into_iter().chain(self.callers.drain(..).map(|(_, waker)| waker))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.own.is_none() && self.callers.is_empty()
    }

    /// Gives back what holds nothing.
    pub(super) fn rest(&mut self) {
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

    /// Writes down when it was woken.
    struct Turn {
        clock: Arc<AtomicU64>,
        woken: AtomicU64,
    }

    impl Wake for Turn {
        fn wake(self: Arc<Self>) {
            self.woken.store(self.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_are_woken_in_the_order_in_which_they_came() {
        let (mut waiters, mut retired, clock) = (Waiters::default(), Vec::new(), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = (0..4).map(|_| Arc::new(Turn { clock: clock.clone(), woken: AtomicU64::new(0) })).collect();
        let mut places = [const { Place::Among(None) }; 4];
        let mut park = |waiters: &mut Waiters, which: usize| {
            let waker = Waker::from(tasks[which].clone());
            waiters.park(&mut places[which], &Context::from_waker(&waker), &mut retired);
        };
        (0..4).for_each(|which| park(&mut waiters, which));
        assert_eq!(waiters.take().map(Waker::wake).count(), 4);
        // Those who come back stand where they stood, in whatever order they do.
        [2, 0, 3, 1].into_iter().for_each(|which| park(&mut waiters, which));
        assert_eq!(waiters.take().map(Waker::wake).count(), 4);
        let order: Vec<_> = tasks.iter().map(|task| task.woken.load(Ordering::Relaxed)).collect();
        assert_eq!(order, [5, 6, 7, 8]);
        assert!(waiters.is_empty() && retired.is_empty());
    }

    #[test]
    fn whoever_leaves_leaves_nothing_behind() {
        let (mut waiters, mut retired) = (Waiters::default(), Vec::new());
        let cx = Context::from_waker(Waker::noop());
        let mut places = [const { Place::Among(None) }; 3];
        places.iter_mut().for_each(|place| waiters.park(place, &cx, &mut retired));
        waiters.park(&mut places[1], &cx, &mut retired);
        assert!(retired.is_empty(), "the same waker is not cloned again");
        places.iter_mut().for_each(|place| waiters.leave(place, &mut retired));
        assert_eq!((waiters.is_empty(), retired.len()), (true, 3));
        places.iter_mut().for_each(|place| waiters.leave(place, &mut retired));
        waiters.rest();
        assert_eq!(waiters.callers.capacity(), 0);
    }
}
