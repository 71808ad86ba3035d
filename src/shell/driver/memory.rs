//! What the driver asks the memory manager for, with no lock held: larger windows, credit, and memory for what has arrived.

use super::Driver;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::WindowDecision;
use crate::shell::inner::Inner;
use crate::shell::reserve::{least_reservation, reserve_or_wait};
use crate::sync::{Mutex, PoisonError};
use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use std::fmt;
use std::task::{Context, Poll};
use web_time::Instant;

/// Whether the bytes that are parsed next have their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputMemory {
    /// It is reserved, or has to be asked for.
    Unknown,
    /// It was refused: they are applied without.
    Refused,
}

/// A wait for memory: for the most urgent credit that is withheld, or for a stream that is to be opened.
pub(super) struct MemoryWait {
    bytes: usize,
    priority: Priority,
    /// Never locked: with it, a connection is `Sync` though the future of a memory manager need not be.
    released: Mutex<BoxFuture<'static, ()>>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Asks the memory manager for what windows need. Credit that it refuses is asked for again when memory has been released
    /// (Y-MEM-10).
    pub(super) fn request_windows(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.request(now);
        let Some((bytes, priority)) = self.shared.with(|inner| inner.mux.first_waiting_credit()) else {
            self.credit = None;
            return;
        };
        let mut wait = match self.credit.take().filter(|wait| wait.is_for(bytes, priority)) {
            Some(wait) => wait,
            None => {
                match self.request_or_wait(bytes, priority, now) {
                    Err(released) => MemoryWait::new(bytes, priority, released),
                    // There may be less urgent credit that waits.
                    Ok(()) => return cx.waker().wake_by_ref(),
                }
            }
        };
        match wait.poll(cx) {
            Poll::Pending => self.credit = Some(wait),
            Poll::Ready(()) if self.shared.with(|inner| inner.mux.first_waiting_credit().is_none()) => {
                self.pass_release_on(bytes, priority)
            }
            // It is asked for in the next poll. A manager that completes without need costs polls, and not the thread.
            Poll::Ready(()) => cx.waker().wake_by_ref(),
        }
    }

    /// Asks once more. If it is refused again, returns what to wait for.
    fn request_or_wait(
        &mut self,
        bytes: usize,
        priority: Priority,
        now: Instant,
    ) -> Result<(), BoxFuture<'static, ()>> {
        let shared = self.shared.clone();
        reserve_or_wait(shared.time(), shared.memory(), bytes, priority, || self.request_again(priority, now))
    }

    /// Waits for memory on behalf of all tasks that open streams and were refused it. Those may be futures that are never
    /// polled, and other waiters of the memory manager must not wait behind them.
    pub(super) fn wait_to_open(&mut self, lacks: bool, cx: &mut Context<'_>) {
        let before = self.opening.take().filter(|_| lacks);
        if !lacks {
            return;
        }
        let (time, memory) = (self.shared.time(), self.shared.memory());
        let (bytes, priority) = (least_reservation(&self.config), Priority::ALWAYS);
        let again = || memory.has_room(bytes, priority).then_some(());
        let wait = before.map_or_else(
            || {
                reserve_or_wait(time, memory, bytes, priority, again)
                    .map_err(|released| MemoryWait::new(bytes, priority, released))
            },
            Err,
        );
        if let Err(mut wait) = wait
            && wait.poll(cx).is_pending()
        {
            self.opening = Some(wait);
        } else if !self.shared.with(Inner::memory_released) {
            self.pass_release_on(bytes, priority);
        }
    }

    /// Memory was released, and this connection, which was woken for it, does not need it any more: a reservation that is
    /// released at once makes the manager wake the next waiter.
    fn pass_release_on(&self, bytes: usize, priority: Priority) {
        drop(Reservation::new(self.shared.memory(), bytes, priority));
    }

    /// Whether there is credit or an open that the driver does not wait for: while it asked for memory, which is without the
    /// lock, other tasks have changed the state.
    pub(super) fn waits_are_outdated(credit: Option<&MemoryWait>, opening: bool, inner: &Inner) -> bool {
        let credit = |(bytes, priority)| !credit.is_some_and(|wait| wait.is_for(bytes, priority));
        inner.mux.first_waiting_credit().is_some_and(credit) || (inner.lacks_memory() && !opening)
    }

    /// Asks for the most urgent credit again. `None` if some of this priority is still refused.
    fn request_again(&mut self, priority: Priority, now: Instant) -> Option<()> {
        self.shared.with(|inner| inner.mux.ask_again());
        let all = self.request(now);
        let first = self.shared.with(|inner| inner.mux.first_waiting_credit());
        all.or_else(|| first.is_none_or(|(_, first)| first < priority).then_some(()))
    }

    /// Asks the memory manager for all that windows need. `None` if it refuses credit.
    fn request(&mut self, now: Instant) -> Option<()> {
        let mut all = Some(());
        while let Some(request) = self.shared.with(|inner| inner.mux.next_window_request(now)) {
            let decision = request.put_to(self.shared.memory());
            if matches!(decision, WindowDecision::Denied | WindowDecision::Least(_)) {
                all = None;
            }
            self.shared.with(|inner| inner.mux.apply_decision(request, decision));
        }
        all
    }

    /// Reserves the bytes that are needed for what has arrived, or better for all that was read. If both are refused, its
    /// stream ends (Y-MEM-11).
    pub(super) fn reserve_input(&self, needed: usize) -> InputMemory {
        let reserve = |bytes| Reservation::new(self.shared.memory(), bytes, Priority::ALWAYS);
        let all = self.reader.unparsed().len().max(needed);
        match reserve(all).or_else(|_| reserve(needed)) {
            Ok(granted) => {
                self.shared.with(|inner| inner.mux.provide(granted));
                InputMemory::Unknown
            }
            Err(_) => InputMemory::Refused,
        }
    }
}

impl MemoryWait {
    /// In a box, so that a connection that does not wait, as most, takes no more than a pointer for it.
    fn new(bytes: usize, priority: Priority, released: BoxFuture<'static, ()>) -> Box<Self> {
        Box::new(Self { bytes, priority, released: Mutex::new(released) })
    }

    /// Ready when it is worth to ask again.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.released.get_mut().unwrap_or_else(PoisonError::into_inner).poll_unpin(cx)
    }

    /// Whether it ends as soon as so much can be had at this priority, or sooner.
    fn is_for(&self, bytes: usize, priority: Priority) -> bool {
        self.priority >= priority && self.bytes <= bytes
    }
}

impl fmt::Debug for MemoryWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWait")
            .field("bytes", &self.bytes)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}
