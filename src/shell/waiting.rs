//! Owns [`Waiting`]: who waits on which stream, and for what. No lock; wakers are put away and taken out, and never woken.

use crate::proto::{IdHash, Key, Readiness, shrink_sparse};
use std::collections::HashMap;
use std::task::{Context, Waker};

/// One waker for each thing that a task may wait for on a stream: the two halves never share one. A stream on which
/// nobody waits takes nothing.
#[derive(Default)]
pub(super) struct Waiting {
    read: Line,
    write: Line,
    flush: Line,
}

/// The wakers of one kind.
#[derive(Default)]
struct Line(HashMap<Key, Waker, IdHash>);

impl Waiting {
    /// Puts a task's waker away, and another one that was there to those that are retired.
    pub(super) fn park(&mut self, key: Key, what: Readiness, cx: &Context<'_>, retired: &mut Vec<Waker>) {
        self.each(what).into_iter().flatten().for_each(|line| line.park(key, cx.waker(), retired));
    }

    /// Takes the wakers out of those who wait for any of this.
    pub(super) fn take(&mut self, key: Key, what: Readiness) -> impl Iterator<Item = Waker> {
        self.each(what).into_iter().flatten().filter_map(move |line| line.take(key))
    }

    /// Gives back what holds nothing.
    pub(super) fn rest(&mut self) {
        self.each(Readiness::ALL).into_iter().flatten().for_each(|line| line.0.shrink_to_fit());
    }

    fn each(&mut self, what: Readiness) -> [Option<&mut Line>; 3] {
        [
            what.contains(Readiness::READ).then_some(&mut self.read),
            what.contains(Readiness::WRITE).then_some(&mut self.write),
            what.contains(Readiness::FLUSH).then_some(&mut self.flush),
        ]
    }
}

impl Line {
    fn park(&mut self, key: Key, waker: &Waker, retired: &mut Vec<Waker>) {
        match self.0.get_mut(&key) {
            Some(own) if own.will_wake(waker) => {}
            Some(own) => retired.push(std::mem::replace(own, waker.clone())),
            None => {
                self.0.insert(key, waker.clone());
            }
        }
    }

    fn take(&mut self, key: Key) -> Option<Waker> {
        let waker = self.0.remove(&key)?;
        shrink_sparse(&mut self.0);
        Some(waker)
    }
}
