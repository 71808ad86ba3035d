//! Owns [`UserPings`]: the application's calls that wait for a ping, and their results.
//!
//! The first ping that is encoded after a call was made answers the call, whatever the ping's purpose, and no other
//! ping does (Y-PING-7). A caller that gives up returns the ticket, and the call is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;
use web_time::Instant;

/// Calls whose result was not taken yet, by their tickets.
#[derive(Debug)]
pub(in crate::proto) struct UserPings {
    timeout: Duration,
    calls: BTreeMap<u64, Call>,
    next: u64,
    /// Calls from this ticket on wait for their ping to be encoded.
    asked: u64,
    /// Calls from this ticket up to `asked` wait for the pong.
    sent: u64,
    /// Whether any call has ended since this was last taken.
    ended: bool,
}

/// Progress of an application's ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PingProgress {
    /// No answer yet.
    Waiting,
    /// The round-trip time.
    Answered(Duration),
    /// No answer in time.
    TimedOut,
}

/// State of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Made at this time; its ping has not been encoded.
    Asked(Instant),
    /// Its ping was encoded at this time.
    Sent(Instant),
    Done(PingProgress),
}

impl UserPings {
    pub(in crate::proto) const fn new(timeout: Duration) -> Self {
        Self { timeout, calls: BTreeMap::new(), next: 0, asked: 0, sent: 0, ended: false }
    }

    /// Records a call; returns its ticket.
    pub(in crate::proto) fn ask(&mut self, now: Instant) -> u64 {
        let ticket = self.next;
        self.next = ticket.wrapping_add(1);
        self.calls.insert(ticket, Call::Asked(now));
        ticket
    }

    /// Progress of the call. Its end is returned once, and then forgotten.
    pub(in crate::proto) fn progress(&mut self, ticket: u64) -> PingProgress {
        match self.calls.get(&ticket) {
            Some(Call::Asked(_) | Call::Sent(_)) => PingProgress::Waiting,
            Some(&Call::Done(end)) => {
                self.calls.remove(&ticket);
                end
            }
            None => PingProgress::TimedOut,
        }
    }

    /// The caller waits no longer.
    pub(in crate::proto) fn forget(&mut self, ticket: u64) {
        self.calls.remove(&ticket);
    }

    /// Whether a call waits for a ping to be encoded.
    pub(in crate::proto) fn is_asked(&self) -> bool {
        self.calls.last_key_value().is_some_and(|(ticket, _)| *ticket >= self.asked)
    }

    /// A ping was encoded: it serves all calls made before it.
    pub(in crate::proto) fn ping_encoded(&mut self, now: Instant) {
        for (_, call) in self.calls.range_mut(self.asked..) {
            if let Call::Asked(_) = call {
                *call = Call::Sent(now);
            }
        }
        self.asked = self.next;
    }

    /// The last ping that was encoded was answered.
    pub(in crate::proto) fn answered(&mut self, rtt: Duration) {
        for (_, call) in self.calls.range_mut(self.sent..self.asked) {
            if let Call::Sent(_) = call {
                *call = Call::Done(PingProgress::Answered(rtt));
                self.ended = true;
            }
        }
        self.sent = self.asked;
    }

    /// Ends the calls that have waited for too long, for their ping to leave or for the pong (Y-PING-8).
    pub(in crate::proto) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        for (_, call) in self.calls.range_mut(self.sent..) {
            if let Call::Asked(since) | Call::Sent(since) = *call
                && since.checked_add(self.timeout).is_some_and(|at| now >= at)
            {
                *call = Call::Done(PingProgress::TimedOut);
                self.ended = true;
            }
        }
    }

    /// Whether any call has ended since this was last asked, so that its caller must be woken.
    pub(in crate::proto) const fn take_ended(&mut self) -> bool {
        std::mem::replace(&mut self.ended, false)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work to do.
    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        if self.calls.is_empty() {
            return None;
        }
        // In either range the first call has waited for longest.
        let since = |(_, call): (&u64, &Call)| match call {
            Call::Asked(since) | Call::Sent(since) => Some(*since),
            Call::Done(_) => None,
        };
        let sent = self.calls.range(self.sent..self.asked).find_map(since);
        let asked = self.calls.range(self.asked..).find_map(since);
        sent.into_iter().chain(asked).min()?.checked_add(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const RTT: Duration = Duration::from_millis(80);

    fn pings() -> (UserPings, Instant) {
        (UserPings::new(TIMEOUT), Instant::now())
    }

    #[test]
    fn y_ping_7_a_call_is_answered_by_a_later_ping() {
        let (mut pings, now) = pings();
        pings.ping_encoded(now);
        let first = pings.ask(now);
        pings.answered(RTT);
        assert_eq!(pings.progress(first), PingProgress::Waiting, "that ping left before it was asked for");
        assert!(pings.is_asked());
        pings.ping_encoded(now);
        assert!(!pings.is_asked());
        let second = pings.ask(now);
        pings.answered(2 * RTT);
        assert_eq!(pings.progress(first), PingProgress::Answered(2 * RTT));
        assert_eq!(pings.progress(second), PingProgress::Waiting);
    }

    #[test]
    fn y_ping_7_calls_share_a_ping_that_has_not_been_cut() {
        let (mut pings, now) = pings();
        let tickets: Vec<_> = (0..100).map(|_| pings.ask(now)).collect();
        pings.ping_encoded(now);
        pings.answered(RTT);
        assert!(tickets.into_iter().all(|ticket| pings.progress(ticket) == PingProgress::Answered(RTT)));
        assert!(pings.calls.is_empty());
    }

    #[test]
    fn y_ping_8_the_time_of_a_call_begins_with_its_ping() {
        let (mut pings, now) = pings();
        let ticket = pings.ask(now);
        pings.ping_encoded(now + TIMEOUT / 2);
        assert_eq!(pings.poll_timeout(), Some(now + TIMEOUT * 3 / 2));
        pings.handle_timeout(now + TIMEOUT);
        assert!(!pings.take_ended());
        assert_eq!(pings.progress(ticket), PingProgress::Waiting);
        pings.handle_timeout(now + TIMEOUT * 3 / 2);
        assert!(pings.take_ended() && !pings.take_ended());
        assert_eq!(pings.progress(ticket), PingProgress::TimedOut);
        assert_eq!(pings.poll_timeout(), None);
    }

    #[test]
    fn y_ping_8_a_blocked_pings_time_begins_with_the_call() {
        let (mut pings, now) = pings();
        let [first, second] = [now, now + TIMEOUT / 2].map(|at| pings.ask(at));
        pings.handle_timeout(now + TIMEOUT);
        assert_eq!(
            [first, second].map(|ticket| pings.progress(ticket)),
            [PingProgress::TimedOut, PingProgress::Waiting]
        );
        assert_eq!(pings.poll_timeout(), Some(now + TIMEOUT * 3 / 2));
    }

    #[test]
    fn y_ping_7_a_call_that_is_given_up_leaves_nothing_behind() {
        let (mut pings, now) = pings();
        // Before its ping was encoded, while that is under way, and when its end was not told.
        let [asked, sent, done] = [0, 1, 2].map(|state| {
            let (mut pings, ticket) = (UserPings::new(TIMEOUT), 0);
            assert_eq!(pings.ask(now), ticket);
            (0..state.min(1)).for_each(|_| pings.ping_encoded(now));
            (1..state).for_each(|_| pings.answered(RTT));
            pings.forget(ticket);
            pings
        });
        for mut pings in [asked, sent, done] {
            assert!(pings.calls.is_empty() && !pings.is_asked() && pings.poll_timeout().is_none());
            let next = pings.ask(now + TIMEOUT);
            pings.handle_timeout(now + TIMEOUT);
            assert_eq!(pings.progress(next), PingProgress::Waiting);
        }
        // A result that was not collected waits for its own caller, and for no other.
        let [slow, other] = [(); 2].map(|()| pings.ask(now));
        pings.ping_encoded(now);
        pings.answered(RTT);
        pings.forget(other);
        let next = pings.ask(now);
        pings.ping_encoded(now);
        pings.answered(3 * RTT);
        assert_eq!([slow, next].map(|ticket| pings.progress(ticket)), [RTT, 3 * RTT].map(PingProgress::Answered));
    }
}
