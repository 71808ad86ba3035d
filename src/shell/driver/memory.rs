//! What the driver asks the memory manager for, with no lock held: larger windows, credit, and room for what has arrived.

use super::Driver;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::Answer;
use crate::shell::listen::ask_or_listen;
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

/// A wait for memory, for the most urgent credit that is withheld.
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
        let mut wait = match self.credit.take().filter(|wait| wait.priority >= priority && wait.bytes <= bytes) {
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
            // It is asked for in the next poll. A manager that says so without need costs polls, and not the thread.
            Poll::Ready(()) => cx.waker().wake_by_ref(),
        }
    }

    /// Asks once more, and where that is in vain gives what to wait for.
    fn ask_or_listen(&mut self, bytes: usize, priority: Priority, now: Instant) -> Result<(), BoxFuture<'static, ()>> {
        let shared = self.shared.clone();
        ask_or_listen(shared.time(), shared.memory(), bytes, priority, || self.ask_again(priority, now))
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
        while let Some(wish) = self.shared.with(|inner| inner.mux.next_wish(now)) {
            let answer = wish.put_to(self.shared.memory());
            if matches!(answer, Answer::Withheld | Answer::Least(_)) {
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

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("bytes", &self.bytes).field("priority", &self.priority).finish_non_exhaustive()
    }
}
