//! Owns [`Urgency`]: what has been urgent lately, and how much leaves beside it.
//!
//! Of what has left, nothing overtakes anything: something urgent waits until the peer has read all that is before it. On
//! a short link that is not so much what the link holds as what the windows of the others allow. So those who are less
//! urgent are let out piece by piece, as the peer has read them: the answers to pings between the pieces tell.

use crate::priority::Priority;
use crate::proto::key::Key;
use crate::proto::limits::{NEAR_ROUND_TRIP, PACE_BYTES, PACE_MOST, PACE_TIME};
use crate::proto::mux::Mux;
use std::time::Duration;
use web_time::Instant;

/// When something was sent that is more urgent than others.
#[derive(Debug, Default)]
pub(in crate::proto) struct Urgency {
    /// Few connections have any: it is not in every one.
    lately: Option<Box<Lately>>,
}

#[derive(Debug)]
struct Lately {
    priority: Priority,
    sent: Instant,
    /// Whether the peer answers pings. Nobody is held back for one that does not.
    answers: bool,
    /// Bytes that those who are less urgent may send until the next ping leaves.
    room: usize,
}

impl Mux {
    /// Asks for a ping where somebody is to be let out by it (Y-PRIO-5).
    pub(in crate::proto) fn pace(&mut self, now: Instant) {
        if self.urgent(now).is_some_and(|lately| self.schedule.waits_below(lately.priority)) {
            self.liveness.ping_to_pace(now);
        }
    }

    /// A ping was cut: the peer has read all that was sent before the last one, and so much more may follow.
    pub(in crate::proto) fn let_out(&mut self) {
        let near = self.near();
        if let Some((lately, rtt)) = self.urgency.lately.as_deref_mut().zip(near) {
            lately.room = share(rtt);
        }
    }

    /// A ping was answered.
    pub(in crate::proto) fn pong(&mut self) {
        if let Some(lately) = &mut self.urgency.lately {
            lately.answers = true;
        }
    }

    /// The stream whose turn it is to send, and how much: up to `frame` bytes, or what somebody more urgent leaves it.
    pub(in crate::proto) fn next_turn(&mut self, frame: usize, now: Instant) -> Option<(Key, usize)> {
        let Some(lately) = self.urgent(now).filter(|lately| lately.answers) else {
            return Some((self.schedule.pop(&mut self.store, None)?, frame));
        };
        let (urgent, room) = (lately.priority, lately.room);
        let key = self.schedule.pop(&mut self.store, (room == 0).then_some(urgent))?;
        let makes_way = self.store.get(key).is_some_and(|stream| stream.priority.bucket() < urgent.bucket());
        // Y-PRIO-3: where there is no room, it has waited for too long.
        Some((key, if makes_way && room > 0 { frame.min(room) } else { frame }))
    }

    /// Bytes of a stream were cut: it is urgent, or has used some of the room that others leave it.
    pub(in crate::proto) fn has_sent(&mut self, priority: Priority, bytes: usize, now: Instant) {
        let makes_way = self.urgent(now).is_some_and(|lately| priority.bucket() < lately.priority.bucket());
        match &mut self.urgency.lately {
            Some(lately) if makes_way => lately.room = lately.room.saturating_sub(bytes),
            _ if self.ledger.is_lowest(priority) => {}
            Some(lately) => (lately.priority, lately.sent) = (priority, now),
            none => *none = Some(Box::new(Lately { priority, sent: now, answers: false, room: 0 })),
        }
    }

    /// When somebody who is held back goes on all the same.
    pub(in crate::proto) fn pace_ends(&self) -> Option<Instant> {
        let lately = self.urgency.lately.as_deref().filter(|lately| lately.answers && lately.room == 0)?;
        let waits = self.near().is_some() && self.schedule.waits_below(lately.priority);
        let since = self.liveness.waiting_since().map_or(lately.sent, |sent| sent.min(lately.sent));
        since.checked_add(PACE_TIME).filter(|_| waits)
    }

    /// Nothing urgent has followed, or the peer does not say what it has read: nobody is held back until it does.
    pub(in crate::proto) fn end_pace(&mut self, now: Instant) {
        if self.pace_ends().is_some_and(|at| now >= at)
            && let Some(lately) = &mut self.urgency.lately
        {
            lately.answers = false;
        }
    }

    /// Nothing moves any more.
    pub(in crate::proto) fn end_urgency(&mut self) {
        self.urgency.lately = None;
    }

    /// What has been urgent lately, on a link where others make way for it.
    fn urgent(&self, now: Instant) -> Option<&Lately> {
        let lately = self.urgency.lately.as_deref()?;
        let recent = now.saturating_duration_since(lately.sent) < PACE_TIME;
        (recent && self.near().is_some()).then_some(lately)
    }

    /// The round trip of a link so short that it matters when the tasks of both ends get a turn.
    pub(in crate::proto) fn near(&self) -> Option<Duration> {
        let rtt = &self.liveness.rtt;
        rtt.round_trip().filter(|round_trip| *round_trip < NEAR_ROUND_TRIP && !rtt.is_late())
    }
}

/// How much is let out at once, by the round trip.
fn share(rtt: Duration) -> usize {
    let share = (PACE_MOST as u128).saturating_mul(rtt.as_nanos()).checked_div(NEAR_ROUND_TRIP.as_nanos());
    share.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(PACE_MOST).max(PACE_BYTES)
}
