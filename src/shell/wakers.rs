//! Owns [`StreamWakers`]: the wakers of tasks that wait on a stream, by stream and reason. It has no lock; wakers are stored
//! and taken out, and never woken here.

use crate::proto::{Key, Ready, Spread, trim};
use std::collections::HashMap;
use std::task::{Context, Waker};

/// One waker for each reason to wait on a stream: the two halves never share one. A stream that no task waits on takes
/// nothing.
#[derive(Default)]
pub(super) struct StreamWakers {
    read: ByStream,
    write: ByStream,
    flush: ByStream,
}

/// The wakers of one reason.
#[derive(Default)]
struct ByStream(HashMap<Key, Waker, Spread>);

impl StreamWakers {
    /// Stores a task's waker. The waker of another task that it replaces is moved to `retired`.
    pub(super) fn park(&mut self, key: Key, reasons: Ready, cx: &Context<'_>, retired: &mut Vec<Waker>) {
        self.select(reasons).into_iter().flatten().for_each(|wakers| wakers.park(key, cx.waker(), retired));
    }

    /// Takes out the wakers of the tasks that wait for any of these reasons.
    pub(super) fn take(&mut self, key: Key, reasons: Ready) -> impl Iterator<Item = Waker> {
        self.select(reasons).into_iter().flatten().filter_map(move |wakers| wakers.take(key))
    }

    /// Frees storage that holds nothing.
    pub(super) fn shrink(&mut self) {
        self.select(Ready::ALL).into_iter().flatten().for_each(|wakers| wakers.0.shrink_to_fit());
    }

    fn select(&mut self, reasons: Ready) -> [Option<&mut ByStream>; 3] {
        [
            reasons.contains(Ready::READ).then_some(&mut self.read),
            reasons.contains(Ready::WRITE).then_some(&mut self.write),
            reasons.contains(Ready::FLUSH).then_some(&mut self.flush),
        ]
    }
}

impl ByStream {
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
        trim(&mut self.0);
        Some(waker)
    }
}
