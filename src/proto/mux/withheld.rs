//! Owns credit that waits until memory is less scarce: who stands in line, the most urgent first (Y-MEM-10).
//!
//! What is asked for, and what the answers mean, stands in `windows`.

use crate::priority::Priority;
use crate::proto::key::Key;
use crate::proto::limits::{ASKED_AT_ONCE, CREDIT_LEAST};
use crate::proto::mux::Mux;
use crate::stats::count;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Streams whose credit waits, the most urgent first and then in the order in which they came. A stream that stands here
/// knows its place, and is taken out when it ends.
#[derive(Debug, Default)]
pub(in crate::proto) struct Withheld {
    line: BTreeMap<Place, Key>,
    tickets: u64,
}

/// Where credit that is due stands with the memory manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Asking {
    /// It need not be asked, or has granted it.
    No,
    /// It is asked before the next batch.
    Queued,
    /// It has refused; this is where the stream stands in line.
    Withheld(Place),
}

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::proto) struct Place {
    /// At which it waits: one that stands still waits for the least that there is, which it gets at any priority.
    priority: Reverse<Priority>,
    ticket: u64,
}

impl Withheld {
    /// Gives back what holds nothing.
    pub(in crate::proto) fn rest(&mut self) {
        if self.line.is_empty() {
            self.line = BTreeMap::new();
        }
    }

    #[cfg(test)]
    pub(in crate::proto) fn len(&self) -> usize {
        self.line.len()
    }
}

impl Mux {
    /// The stream waits in line from now on.
    pub(in crate::proto) fn withhold(&mut self, key: Key) {
        count(&mut self.ledger.refusals.credit);
        self.stand_in_line(key);
    }

    fn stand_in_line(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        let priority = if stream.stands_still() { Priority::ALWAYS } else { stream.priority };
        let place = Place { priority: Reverse(priority), ticket: self.withheld.tickets };
        self.withheld.tickets = place.ticket.wrapping_add(1);
        if let Some(motion) = self.store.motion(key) {
            motion.asking = Asking::Withheld(place);
        }
        self.withheld.line.insert(place, key);
    }

    /// What the first in line waits for: how much, and at which priority.
    pub(crate) fn withheld(&self) -> Option<(usize, Priority)> {
        let (Place { priority: Reverse(priority), .. }, key) = self.withheld.line.first_key_value()?;
        let stream = self.store.get(*key)?;
        let window = &stream.receive.window;
        let most = if stream.stands_still() { CREDIT_LEAST } else { u32::MAX };
        Some((window.owed().min(window.size() / 2).min(most) as usize, *priority))
    }

    /// Memory may be less scarce: the most urgent credit that waits is asked for again, and not all of it at once. A
    /// refusal would be the first of many.
    pub(crate) fn ask_again(&mut self) {
        for _ in 0..ASKED_AT_ONCE {
            let Some((_, key)) = self.withheld.line.pop_first() else { return };
            self.queue_wish(key);
        }
    }

    /// Credit that waits does so no more: it is asked for in another way, or nobody needs it.
    pub(in crate::proto) fn stop_asking(&mut self, key: Key) {
        let Some(motion) = self.store.get_mut(key).and_then(|stream| stream.motion.as_mut()) else { return };
        motion.trickle = 0;
        if let Asking::Withheld(place) = std::mem::replace(&mut motion.asking, Asking::No) {
            self.withheld.line.remove(&place);
        }
        self.store.still(key);
    }

    /// The priority of a stream has changed: credit that waits may not have to any more, or has another place in line.
    pub(in crate::proto) fn move_in_line(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        if let Asking::Withheld(place) = stream.motion().asking {
            self.withheld.line.remove(&place);
            self.stand_in_line(key);
            (self.events.attention, self.events.outlook) = (true, true);
        }
    }
}
