//! Owns [`Pacer`]: which priority was sent lately, and how much of lower priorities may leave beside it.
//!
//! Of what has left, nothing overtakes anything: an urgent frame waits until the peer has read all that is before it. On a
//! short link that is not so much what the link holds as what the windows of other streams allow. So the lower priorities are
//! sent piece by piece, as the peer has read them: the answers to pings between the pieces tell. Uses the round-trip time and
//! the schedule, and sends nothing itself.

use super::schedule::Schedule;
use crate::priority::Priority;
use crate::proto::limits::{NEAR_ROUND_TRIP, PACE_BYTES, PACE_MOST, PACE_TIME};
use crate::proto::peer::rtt::Rtt;
use std::time::Duration;
use web_time::Instant;

/// When something was sent that is more urgent than others.
#[derive(Debug, Default)]
pub(in crate::proto) struct Pacer {
    /// Few connections have any: it is not in every one.
    recent: Option<Box<Recent>>,
}

#[derive(Debug)]
struct Recent {
    priority: Priority,
    sent: Instant,
    /// Whether the peer answers pings. No stream is held back for a peer that does not.
    answers: bool,
    /// Bytes that lower priorities may send until the next ping leaves.
    room: usize,
}

/// What lower priorities may send at the moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Limit {
    /// The priority that they make way for.
    pub(in crate::proto) urgent: Priority,
    /// Bytes that they may send.
    pub(in crate::proto) room: usize,
}

impl Pacer {
    /// Whether a ping would let somebody send who is held back (Y-PRIO-5).
    pub(in crate::proto) fn wants_ping(&self, schedule: &Schedule, rtt: &Rtt, now: Instant) -> bool {
        self.urgent(rtt, now).is_some_and(|recent| schedule.waits_below(recent.priority))
    }

    /// A ping was encoded: the peer has read all that was sent before the last one, and so much more may follow.
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

    /// What lower priorities are held to, if they are held back now.
    pub(in crate::proto) fn limit(&self, rtt: &Rtt, now: Instant) -> Option<Limit> {
        let recent = self.urgent(rtt, now).filter(|recent| recent.answers)?;
        Some(Limit { urgent: recent.priority, room: recent.room })
    }

    /// Bytes of a stream were encoded: it is urgent, or has used some of the room that others leave it. `is_lowest` says
    /// whether no stream has a lower priority.
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

    /// When streams that are held back go on all the same; a ping is under way since `ping_sent`.
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

    /// Nothing urgent has followed, or the peer does not say what it has read: no stream is held back until it does.
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
        let lately = now.saturating_duration_since(recent.sent) < PACE_TIME;
        (lately && rtt.short_round_trip().is_some()).then_some(recent)
    }
}

/// How much lower priorities may send at once, by the round trip.
fn share(rtt: Duration) -> usize {
    let share = (PACE_MOST as u128).saturating_mul(rtt.as_nanos()).checked_div(NEAR_ROUND_TRIP.as_nanos());
    share.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(PACE_MOST).max(PACE_BYTES)
}
