//! Owns [`Pacer`]: the pacing of lower priorities beside a more urgent stream.
//!
//! Bytes on the wire cannot be overtaken: an urgent frame waits until the peer has read all bytes before it. On a short
//! link the windows of other streams allow more bytes in flight than the link itself holds. So lower priorities send
//! one share at a time, and the next share leaves when the peer has read the one before: pings between the shares tell.
//! Uses the round-trip time and the schedule, and sends nothing itself.

use super::schedule::Schedule;
use crate::priority::Priority;
use crate::proto::limits::{NEAR_ROUND_TRIP, PACE_BYTES, PACE_MOST, PACE_TIME};
use crate::proto::peer::rtt::Rtt;
use std::time::Duration;
use web_time::Instant;

/// Paces streams that are less urgent than the one that sent last.
#[derive(Debug, Default)]
pub(in crate::proto) struct Pacer {
    /// The last urgent frame. In a box, since few connections have one.
    recent: Option<Box<Recent>>,
}

#[derive(Debug)]
struct Recent {
    priority: Priority,
    sent: Instant,
    /// Whether the peer answers pings. A peer that does not is not paced.
    answers: bool,
    /// Bytes that lower priorities may send until the next ping leaves.
    room: usize,
}

/// The share that lower priorities may send at the moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Limit {
    /// The priority of the urgent stream.
    pub(in crate::proto) urgent: Priority,
    /// Bytes that lower priorities may send.
    pub(in crate::proto) room: usize,
}

impl Pacer {
    /// Whether a ping is needed to let a paced stream send (Y-PRIO-5).
    pub(in crate::proto) fn wants_ping(&self, schedule: &Schedule, rtt: &Rtt, now: Instant) -> bool {
        self.urgent(rtt, now).is_some_and(|recent| schedule.waits_below(recent.priority))
    }

    /// A ping was encoded. The peer has read everything before the last ping, so another share may follow.
    pub(in crate::proto) fn refill(&mut self, rtt: &Rtt) {
        if let Some((recent, round_trip)) = self.recent.as_deref_mut().zip(rtt.short_round_trip()) {
            recent.room = share(round_trip);
        }
    }

    /// A ping was answered.
    pub(in crate::proto) fn pong(&mut self) {
        if let Some(recent) = &mut self.recent {
            recent.answers = true;
        }
    }

    /// The limit of lower priorities, while they are paced.
    pub(in crate::proto) fn limit(&self, rtt: &Rtt, now: Instant) -> Option<Limit> {
        let recent = self.urgent(rtt, now).filter(|recent| recent.answers)?;
        Some(Limit { urgent: recent.priority, room: recent.room })
    }

    /// Bytes of a stream were encoded. The stream is either urgent, or uses up some of the share of lower priorities.
    /// `is_lowest` returns whether no stream has a lower priority.
    pub(in crate::proto) fn sent(
        &mut self,
        priority: Priority,
        bytes: usize,
        rtt: &Rtt,
        is_lowest: impl FnOnce() -> bool,
        now: Instant,
    ) {
        let makes_way = self.urgent(rtt, now).is_some_and(|recent| priority.bucket() < recent.priority.bucket());
        match &mut self.recent {
            Some(recent) if makes_way => recent.room = recent.room.saturating_sub(bytes),
            _ if is_lowest() => {}
            Some(recent) => (recent.priority, recent.sent) = (priority, now),
            none => *none = Some(Box::new(Recent { priority, sent: now, answers: false, room: 0 })),
        }
    }

    /// When pacing ends without a pong. A ping is in flight since `ping_sent`.
    pub(in crate::proto) fn poll_timeout(
        &self,
        schedule: &Schedule,
        rtt: &Rtt,
        ping_sent: Option<Instant>,
    ) -> Option<Instant> {
        let recent = self.recent.as_deref().filter(|recent| recent.answers && recent.room == 0)?;
        let waits = rtt.short_round_trip().is_some() && schedule.waits_below(recent.priority);
        let since = ping_sent.map_or(recent.sent, |sent| sent.min(recent.sent));
        since.checked_add(PACE_TIME).filter(|_| waits)
    }

    /// Ends the pacing until the next pong: nothing urgent has followed, or the peer has not answered the ping in time.
    pub(in crate::proto) fn handle_timeout(
        &mut self,
        schedule: &Schedule,
        rtt: &Rtt,
        ping_sent: Option<Instant>,
        now: Instant,
    ) {
        if self.poll_timeout(schedule, rtt, ping_sent).is_some_and(|at| now >= at)
            && let Some(recent) = &mut self.recent
        {
            recent.answers = false;
        }
    }

    /// The connection is idle.
    pub(in crate::proto) fn release_if_idle(&mut self) {
        self.recent = None;
    }

    /// What has been urgent lately, on a link where others make way for it.
    fn urgent(&self, rtt: &Rtt, now: Instant) -> Option<&Recent> {
        let recent = self.recent.as_deref()?;
        let recently = now.saturating_duration_since(recent.sent) < PACE_TIME;
        (recently && rtt.short_round_trip().is_some()).then_some(recent)
    }
}

/// The share of lower priorities, in bytes, by the round trip.
fn share(rtt: Duration) -> usize {
    let share = (PACE_MOST as u128).saturating_mul(rtt.as_nanos()).checked_div(NEAR_ROUND_TRIP.as_nanos());
    share.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(PACE_MOST).max(PACE_BYTES)
}
