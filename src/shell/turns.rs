//! Owns [`Turns`]: callers that want the same thing, one after the other, so that each kind of waiter needs one waker.

use crate::sync::{Mutex, MutexGuard, PoisonError};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Callers for whom no room is kept.
const MANY: usize = 16;

/// Whose turn it is, and what one leaves to the next. Who comes first is first, also before one who comes just as a turn
/// is passed on. Giving up while waiting, or during a turn, passes it on.
#[derive(Debug, Default)]
pub(crate) struct Turns<T>(Mutex<Line<T>>);

#[derive(Debug, Default)]
struct Line<T> {
    /// Those who stand in line, by their numbers, which rise; it is the first one's turn.
    standing: VecDeque<(u64, Option<Waker>)>,
    next: u64,
    left: T,
}

/// A place in the line.
#[derive(Debug)]
pub(crate) struct Turn<'a, T> {
    turns: &'a Turns<T>,
    number: u64,
}

impl<T> Turns<T> {
    pub(crate) async fn next(&self) -> Turn<'_, T> {
        let turn = self.stand();
        poll_fn(|cx| turn.poll_come(cx)).await;
        turn
    }

    fn stand(&self) -> Turn<'_, T> {
        let mut line = self.line();
        let number = line.next;
        line.next = line.next.wrapping_add(1);
        line.standing.push_back((number, None));
        Turn { turns: self, number }
    }

    fn line(&self) -> MutexGuard<'_, Line<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Line<T> {
    fn position(&self, number: u64) -> Option<usize> {
        self.standing.binary_search_by_key(&number, |(number, _)| *number).ok()
    }
}

impl<T> Turn<'_, T> {
    fn poll_come(&self, cx: &Context<'_>) -> Poll<()> {
        // Wakers are foreign code: they are cloned and dropped elsewhere than under the lock.
        let waker = cx.waker().clone();
        let mut line = self.turns.line();
        let Some(position @ 1..) = line.position(self.number) else {
            drop(line);
            return Poll::Ready(());
        };
        let replaced = line.standing.get_mut(position).and_then(|(_, own)| own.replace(waker));
        drop(line);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn leave(&self, left: T) {
        self.turns.line().left = left;
    }
}

impl<T: Clone> Turn<'_, T> {
    /// What the last one has left.
    pub(crate) fn left(&self) -> T {
        self.turns.line().left.clone()
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut line = self.turns.line();
        let position = line.position(self.number);
        let own = position.and_then(|position| line.standing.remove(position));
        if line.standing.is_empty() && line.standing.capacity() > MANY {
            line.standing = VecDeque::new();
        }
        let first = line.standing.front_mut().filter(|_| position == Some(0)).and_then(|(_, waker)| waker.take());
        drop(line);
        drop(own);
        if let Some(waker) = first {
            waker.wake();
        }
    }
}
