//! Owns [`Urgency`]: what has been urgent lately, and who makes way for it.
//!
//! Of what has left, nothing overtakes anything: something urgent waits until this end has read all that is before it.
//! On a short link that is not so much what the link holds as what the windows of the others allow. The scheduler can do
//! nothing about it; the end that gives credit can.

use super::limits::{INITIAL_WINDOW, NARROW_WINDOW, NEAR_ROUND_TRIP, WAY_TIME};
use super::mux::Mux;
use super::store::Key;
use crate::priority::Priority;
use std::time::Duration;
use web_time::Instant;

/// When something was read that is more urgent than others.
#[derive(Debug, Default)]
pub(super) struct Urgency {
    /// Few connections have any: it is not in every one.
    read: Option<Box<(Priority, Instant)>>,
}

impl Urgency {
    /// Whether something in a higher bucket was read lately.
    fn is_above(&self, priority: Priority, now: Instant) -> bool {
        self.read.as_deref().is_some_and(|(urgent, read)| {
            urgent.bucket() > priority.bucket() && now.saturating_duration_since(*read) < WAY_TIME
        })
    }
}

impl Mux {
    /// Bytes of a stream have been read: it makes way for others, or they do for it (Y-PRIO-5).
    pub(super) fn make_way(&mut self, key: Key, now: Instant) {
        let near = self.near();
        let Some(stream) = self.store.get_mut(key) else { return };
        let priority = stream.priority;
        let makes_way = near.filter(|_| self.urgency.is_above(priority, now));
        if makes_way.is_none() && !self.ledger.is_lowest(priority) {
            match &mut self.urgency.read {
                Some(latest) => **latest = (priority, now),
                None => self.urgency.read = Some(Box::new((priority, now))),
            }
        }
        stream.receive.window.make_way(makes_way.map(narrow));
    }

    /// Nothing moves any more: whoever has made way is given all of the window back.
    pub(super) fn end_urgency(&mut self) {
        if self.urgency.read.take().is_none() {
            return;
        }
        for key in self.store.keys().collect::<Vec<_>>() {
            if let Some(stream) = self.store.get_mut(key).filter(|stream| stream.receive.window.makes_way()) {
                stream.receive.window.make_way(None);
                self.wish(key);
                self.queue_control(key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn has_been_urgent(&self) -> bool {
        self.urgency.read.is_some()
    }

    /// The round trip of a link so short that it matters when the tasks of both ends get a turn.
    pub(super) fn near(&self) -> Option<Duration> {
        self.liveness.rtt.minimum().filter(|rtt| *rtt < NEAR_ROUND_TRIP)
    }
}

/// Bytes in use of the window of a stream that makes way: for its round trip as many as the first window is for the
/// longest one that counts as short.
fn narrow(rtt: Duration) -> u32 {
    let share = u128::from(INITIAL_WINDOW).saturating_mul(rtt.as_nanos()).checked_div(NEAR_ROUND_TRIP.as_nanos());
    share.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(INITIAL_WINDOW).max(NARROW_WINDOW)
}
