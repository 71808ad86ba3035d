//! What the driver asks the memory manager for, with no lock held: larger windows, credit, and room for what has arrived.

use super::Driver;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::WindowDecision;
use crate::shell::listen::ask_or_listen;
use crate::shell::opener::least_reservation;
use crate::shell::shared::Inner;
use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use std::fmt;
use std::task::{Context, Poll};
use web_time::Instant;

/// Whether there is memory for the bytes that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provided {
    /// As far as is known.
    All,
    /// It was refused: they are applied without.
    Nothing,
}

/// A wait for memory: for the most urgent credit that is withheld, or for a stream that is to be opened.
pub(super) struct Wait {
    bytes: usize,
    priority: Priority,
    released: BoxFuture<'static, ()>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Puts the wishes of windows to the memory manager. Credit that it withholds is asked for again when memory has been
    /// released (Y-MEM-10).
    pub(super) fn ask_for_windows(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.ask(now);
        let Some((bytes, priority)) = self.shared.with(|inner| inner.mux.withheld()) else {
            self.credit = None;
            return;
        };
        let mut wait = match self.credit.take().filter(|wait| wait.is_for(bytes, priority)) {
            Some(wait) => wait,
            None => {
                match self.ask_or_listen(bytes, priority, now) {
                    Err(released) => Wait { bytes, priority, released },
                    // Perhaps there is more that waits.
                    Ok(()) => return cx.waker().wake_by_ref(),
                }
            }
        };
        match wait.released.poll_unpin(cx) {
            Poll::Pending => self.credit = Some(wait),
            Poll::Ready(()) if self.shared.with(|inner| inner.mux.withheld().is_none()) => {
                self.pass_on(bytes, priority)
            }
            // It is asked for in the next poll. A manager that says so without need costs polls, and not the thread.
            Poll::Ready(()) => cx.waker().wake_by_ref(),
        }
    }

    /// Asks once more, and where that is in vain gives what to wait for.
    fn ask_or_listen(&mut self, bytes: usize, priority: Priority, now: Instant) -> Result<(), BoxFuture<'static, ()>> {
        let shared = self.shared.clone();
        ask_or_listen(shared.time(), shared.memory(), bytes, priority, || self.ask_again(priority, now))
    }

    /// Waits for memory in the place of all who open streams and were refused it: they may be futures that nobody polls, and
    /// then others do not wait behind them.
    pub(super) fn wait_for_openers(&mut self, lacks: bool, cx: &mut Context<'_>) {
        let before = self.opening.take().filter(|_| lacks);
        if !lacks {
            return;
        }
        let (time, memory) = (self.shared.time(), self.shared.memory());
        let (bytes, priority) = (least_reservation(&self.config), Priority::ALWAYS);
        let again = || memory.has_room(bytes, priority).then_some(());
        let wait = before.map_or_else(
            || {
                ask_or_listen(time, memory, bytes, priority, again).map_err(|released| Wait {
                    bytes,
                    priority,
                    released,
                })
            },
            Err,
        );
        if let Err(mut wait) = wait
            && wait.released.poll_unpin(cx).is_pending()
        {
            self.opening = Some(wait);
        } else if !self.shared.with(Inner::memory_released) {
            self.pass_on(bytes, priority);
        }
    }

    /// Memory was released and nobody here needs it any more, who was told of it in the place of others: they are told when
    /// some is released.
    fn pass_on(&self, bytes: usize, priority: Priority) {
        drop(Reservation::new(self.shared.memory(), bytes, priority));
    }

    /// Whether the driver would wait for less memory than it has to by now: while it asked for some, which is without the
    /// lock, others have gone on.
    pub(super) fn overlooks(credit: Option<&Wait>, opening: bool, inner: &Inner) -> bool {
        let credit = |(bytes, priority)| !credit.is_some_and(|wait| wait.is_for(bytes, priority));
        inner.mux.withheld().is_some_and(credit) || (inner.lacks_memory() && !opening)
    }

    /// Asks for the most urgent credit again; nothing where some of this priority still waits.
    fn ask_again(&mut self, priority: Priority, now: Instant) -> Option<()> {
        self.shared.with(|inner| inner.mux.ask_again());
        let all = self.ask(now);
        let first = self.shared.with(|inner| inner.mux.withheld());
        all.or_else(|| first.is_none_or(|(_, first)| first < priority).then_some(()))
    }

    /// Puts wishes to the memory manager; nothing where it withholds any.
    fn ask(&mut self, now: Instant) -> Option<()> {
        let mut all = Some(());
        while let Some(wish) = self.shared.with(|inner| inner.mux.next_window_request(now)) {
            let answer = wish.put_to(self.shared.memory());
            if matches!(answer, WindowDecision::Withheld | WindowDecision::Least(_)) {
                all = None;
            }
            self.shared.with(|inner| inner.mux.answer(wish, answer));
        }
        all
    }

    /// Reserves the bytes that are needed for what has arrived, better as many as all that was read. Where neither is
    /// granted, which this says, its stream ends (Y-MEM-11).
    pub(super) fn provide(&self, needed: usize) -> Provided {
        let reserve = |bytes| Reservation::new(self.shared.memory(), bytes, Priority::ALWAYS);
        let all = self.reader.unparsed().len().max(needed);
        match reserve(all).or_else(|_| reserve(needed)) {
            Ok(granted) => {
                self.shared.with(|inner| inner.mux.provide(granted));
                Provided::All
            }
            Err(_) => Provided::Nothing,
        }
    }
}

impl Wait {
    /// Whether it is over when so much can be had at this priority, if not before.
    fn is_for(&self, bytes: usize, priority: Priority) -> bool {
        self.priority >= priority && self.bytes <= bytes
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("bytes", &self.bytes).field("priority", &self.priority).finish_non_exhaustive()
    }
}
