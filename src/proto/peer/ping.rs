//! Owns [`Pinger`]: the pings of this end, their purpose, and the decision that the peer is dead.
//!
//! One ping is in flight at a time, the markers of the pacer aside. It serves keep-alive, the measurement of the
//! round-trip time and the application's pings together (Y-PING-7). Every byte received is a sign of life, and so is a transport that takes
//! bytes again after it was full. Keep-alive sends a ping only when there was no sign of life for a while (Y-PING-6).

use crate::config::Config;
use crate::proto::peer::rtt::Rtt;
use crate::proto::peer::user_pings::{PingProgress, UserPings};
use std::time::Duration;
use web_time::Instant;

#[derive(Debug)]
pub(in crate::proto) struct Pinger {
    keep_alive: Option<Duration>,
    measure: Duration,
    timeout: Duration,
    heard: Instant,
    next_measure: Instant,
    ping: Ping,
    /// The application's pings.
    pub(in crate::proto) user: UserPings,
    pub(in crate::proto) rtt: Rtt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    Idle,
    Owed,
    InFlight { nonce: u32, sent: Instant },
}

/// The result of a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Verdict {
    /// Nothing to do.
    Fine,
    /// The peer has given no sign of life in time.
    Dead,
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "no setting is longer than a day, and an instant so far off can be told"
)]
impl Pinger {
    pub(in crate::proto) fn new(config: &Config, now: Instant) -> Self {
        Self {
            keep_alive: config.keep_alive_interval(),
            measure: config.measure_rtt_interval(),
            timeout: config.connection_write_timeout(),
            heard: now,
            next_measure: now + config.measure_rtt_interval(),
            // Y-PING-5: the first ping leaves at once, so that windows can grow after one round trip.
            ping: Ping::Owed,
            user: UserPings::new(config.connection_write_timeout()),
            rtt: Rtt::default(),
        }
    }

    /// The peer has given a sign of life.
    pub(in crate::proto) fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// When the peer last gave a sign of life.
    pub(in crate::proto) const fn heard_at(&self) -> Instant {
        self.heard
    }

    /// Arriving data indicates a round trip of `sample`: pings probe whether the path has become that long (Y-FLOW-12).
    pub(in crate::proto) fn doubt(&mut self, sample: Duration, now: Instant) {
        if self.rtt.doubt(sample, now) && self.ping == Ping::Idle {
            self.ping = Ping::Owed;
        }
    }

    pub(in crate::proto) fn is_owed(&self) -> bool {
        self.ping == Ping::Owed
    }

    /// The ping was put into a batch.
    pub(in crate::proto) fn ping_encoded(&mut self, nonce: u32, now: Instant) {
        self.ping = Ping::InFlight { nonce, sent: now };
        self.user.ping_encoded(now);
        self.next_measure = now + self.measure;
    }

    /// A pong has arrived; returns whether it answers the ping in flight. Others are ignored (Y-PING-3).
    pub(in crate::proto) fn pong(&mut self, nonce: u32, now: Instant) -> bool {
        match self.ping {
            Ping::InFlight { nonce: expected, sent } if expected == nonce => {
                self.user.answered(self.rtt.sample(sent, now));
                self.ping = if self.rtt.is_doubted() { Ping::Owed } else { self.next_ping() };
                true
            }
            Ping::InFlight { .. } | Ping::Idle | Ping::Owed => false,
        }
    }

    /// Asks for a ping on behalf of the application, or returns the progress of the ping behind `ticket`. Its end is
    /// returned once.
    pub(in crate::proto) fn user_ping(&mut self, ticket: &mut Option<u64>, now: Instant) -> PingProgress {
        let own = ticket.unwrap_or_else(|| self.user.ask(now));
        *ticket = Some(own);
        let progress = self.user.progress(own);
        if progress != PingProgress::Waiting {
            *ticket = None;
        } else if self.ping == Ping::Idle {
            self.ping = self.next_ping();
        }
        progress
    }

    /// The next ping after one is over: for the calls that were made since that one was encoded (Y-PING-7).
    fn next_ping(&self) -> Ping {
        if self.user.is_asked() { Ping::Owed } else { Ping::Idle }
    }

    pub(in crate::proto) fn handle_timeout(&mut self, now: Instant) -> Verdict {
        self.user.handle_timeout(now);
        match self.ping {
            Ping::InFlight { sent, .. } if now >= sent + self.timeout => self.unanswered(sent, now),
            Ping::Idle if now >= self.idle_deadline() => {
                self.ping = Ping::Owed;
                Verdict::Fine
            }
            Ping::InFlight { .. } | Ping::Idle | Ping::Owed => Verdict::Fine,
        }
    }

    /// The ping of `sent` was not answered in time (Y-PING-8).
    fn unanswered(&mut self, sent: Instant, now: Instant) -> Verdict {
        let given_up = now >= self.answer_by(sent);
        if given_up && self.serves_keep_alive(sent).is_some() {
            return Verdict::Dead;
        }
        if given_up {
            self.ping = self.next_ping();
        }
        Verdict::Fine
    }

    /// The deadline of the ping of `sent`. A ping that serves keep-alive is waited for until the silence is long enough
    /// to end the connection.
    fn answer_by(&self, sent: Instant) -> Instant {
        let answer = sent + self.timeout;
        self.serves_keep_alive(sent).map_or(answer, |due| answer.max(due + self.timeout))
    }

    /// When a keep-alive ping was due, if the ping of `sent` serves as one as well. A ping sent much earlier is given
    /// up, and another one is sent: a peer that has come back answers that.
    fn serves_keep_alive(&self, sent: Instant) -> Option<Instant> {
        self.keep_alive.map(|interval| self.heard + interval).filter(|due| *due <= sent + self.timeout)
    }

    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.ping {
            Ping::InFlight { sent, .. } => Some(self.answer_by(sent)),
            Ping::Idle => Some(self.idle_deadline()),
            Ping::Owed => None,
        };
        own.into_iter().chain(self.user.poll_timeout()).min()
    }

    fn idle_deadline(&self) -> Instant {
        let keep_alive = self.keep_alive.map(|interval| self.heard + interval);
        keep_alive.map_or(self.next_measure, |deadline| deadline.min(self.next_measure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NANO: Duration = Duration::from_nanos(1);

    fn pinger(keep_alive: Option<Duration>) -> (Pinger, Instant) {
        let now = Instant::now();
        let config = Config::builder().keep_alive_interval(keep_alive).measure_rtt_interval(1000 * SECOND).build();
        (Pinger::new(&config.expect("valid"), now), now)
    }

    #[test]
    fn y_ping_5_the_first_ping_gives_the_round_trip_time() {
        let (mut live, now) = pinger(None);
        assert!(live.is_owed());
        live.ping_encoded(7, now);
        assert!(!live.pong(8, now + SECOND));
        assert!(live.pong(7, now + SECOND));
        assert!(!live.pong(7, now + SECOND));
        assert_eq!(live.rtt.minimum(), Some(SECOND));
    }

    #[test]
    fn y_ping_6_silence_brings_a_ping_and_any_byte_delays_it() {
        let (mut live, now) = pinger(Some(30 * SECOND));
        live.ping_encoded(1, now);
        live.pong(1, now);
        live.heard(now + 10 * SECOND);
        assert_eq!(live.poll_timeout(), Some(now + 40 * SECOND));
        assert_eq!(live.handle_timeout(now + 39 * SECOND), Verdict::Fine);
        assert!(!live.is_owed());
        assert_eq!(live.handle_timeout(now + 40 * SECOND), Verdict::Fine);
        assert!(live.is_owed());
    }

    #[test]
    fn y_ping_8_an_unanswered_ping_and_silence_end_the_connection() {
        let (mut live, now) = pinger(Some(30 * SECOND));
        live.ping_encoded(1, now);
        assert_eq!(run(&mut live, now + 40 * SECOND - NANO), Verdict::Fine);
        assert_eq!(run(&mut live, now + 40 * SECOND), Verdict::Dead);
    }

    /// Lets time pass as the core does, up to `until`, and sends the pings that are owed. Gives the last verdict.
    fn run(live: &mut Pinger, until: Instant) -> Verdict {
        let mut verdict = Verdict::Fine;
        while let Some(at) = live.poll_timeout().filter(|at| *at <= until) {
            verdict = live.handle_timeout(at);
            if verdict == Verdict::Dead {
                return verdict;
            }
            if live.is_owed() {
                live.ping_encoded(99, at);
            }
            assert!(live.poll_timeout().is_none_or(|next| next > at), "a timeout that is over is told again");
        }
        verdict
    }

    /// A connection on which the last byte has come at this second, and whatever ping was under way then or was sent since.
    fn silent(sent: u32) -> (Pinger, Instant) {
        let (mut live, now) = pinger(Some(30 * SECOND));
        live.ping_encoded(1, now);
        live.pong(1, now);
        live.ping = Ping::Owed;
        live.ping_encoded(2, now + sent * SECOND);
        live.heard(now + 5 * SECOND);
        (live, now + 5 * SECOND)
    }

    #[test]
    fn y_ping_8_no_ping_under_way_shortens_the_silence_allowed() {
        // One that was sent before the silence, at its beginning, and in the middle of it.
        for sent in [0, 4, 5, 6, 15, 20, 24, 25, 26, 34] {
            let (mut live, since) = silent(sent);
            assert_eq!(run(&mut live, since + 40 * SECOND - NANO), Verdict::Fine, "{sent}");
            assert_eq!(run(&mut live, since + 40 * SECOND), Verdict::Dead, "{sent}");
        }
    }

    #[test]
    fn y_ping_8_outages_of_12_s_and_39_s_are_survived() {
        for (outage, sent) in [12, 39].into_iter().flat_map(|outage| [0, 5, 10, 30].map(|sent| (outage, sent))) {
            for asks in [false, true] {
                let (mut live, since) = silent(sent);
                if asks {
                    live.user_ping(&mut None, since);
                }
                assert_ne!(run(&mut live, since + outage * SECOND), Verdict::Dead);
                live.heard(since + outage * SECOND);
                assert_ne!(run(&mut live, since + (outage + 39) * SECOND), Verdict::Dead);
            }
        }
    }

    #[test]
    fn y_ping_8_a_user_is_told_in_time_and_the_connection_lives_on() {
        let (mut live, since) = silent(25);
        let (mut ticket, asked) = (None, since + 20 * SECOND);
        assert_eq!(live.user_ping(&mut ticket, asked), PingProgress::Waiting);
        assert_eq!(run(&mut live, asked + 10 * SECOND), Verdict::Fine);
        assert_eq!(live.user_ping(&mut ticket, asked + 10 * SECOND), PingProgress::TimedOut);
        assert_eq!(run(&mut live, since + 40 * SECOND - NANO), Verdict::Fine);
        assert_eq!(run(&mut live, since + 40 * SECOND), Verdict::Dead);
    }

    #[test]
    fn y_ping_8_a_late_look_at_the_clock_is_no_silence() {
        // The machine slept for an hour, with a ping under way or none: the peer gets the time to answer another one.
        for sent in [4, 6] {
            let (mut live, since) = silent(sent);
            let woken = since + 3600 * SECOND;
            assert_eq!(live.handle_timeout(woken), Verdict::Fine);
            assert_eq!(live.handle_timeout(woken), Verdict::Fine);
            assert!(live.is_owed());
            live.ping_encoded(3, woken);
            assert_eq!(run(&mut live, woken + 10 * SECOND - NANO), Verdict::Fine);
            assert_eq!(run(&mut live, woken + 10 * SECOND), Verdict::Dead);
        }
    }

    #[test]
    fn y_flow_12_a_doubt_is_settled_by_pings_that_follow_each_other() {
        let (mut live, now) = pinger(None);
        live.ping_encoded(1, now);
        live.pong(1, now + SECOND / 1000);
        let (mut at, trip) = (now + SECOND, SECOND / 10);
        live.doubt(trip, at);
        assert!(!live.is_owed());
        while live.rtt.minimum() < Some(trip) {
            live.doubt(trip, at);
            assert!(live.is_owed());
            live.ping_encoded(7, at);
            at += trip;
            assert!(at < now + 3 * SECOND);
            live.pong(7, at);
        }
        assert!(!live.is_owed());
    }

    #[test]
    fn y_ping_8_an_unanswered_ping_among_other_traffic_ends_nothing() {
        let (mut live, now) = pinger(Some(30 * SECOND));
        live.ping_encoded(1, now);
        live.heard(now + SECOND);
        assert_eq!(live.handle_timeout(now + 10 * SECOND), Verdict::Fine);
        assert!(!live.pong(1, now + 11 * SECOND));
        assert_eq!(live.poll_timeout(), Some(now + 31 * SECOND));
    }

    #[test]
    fn y_ping_8_a_users_ping_times_out_and_the_next_works() {
        let (mut live, now) = pinger(None);
        let (mut first, mut second) = (None, None);
        assert_eq!(live.user_ping(&mut first, now), PingProgress::Waiting);
        live.ping_encoded(1, now);
        assert_eq!(live.handle_timeout(now + 10 * SECOND), Verdict::Fine);
        assert_eq!(live.user_ping(&mut first, now + 10 * SECOND), PingProgress::TimedOut);
        assert_eq!(live.user_ping(&mut second, now + 10 * SECOND), PingProgress::Waiting);
        assert!(live.is_owed());
        live.ping_encoded(2, now + 11 * SECOND);
        assert!(!live.pong(1, now + 12 * SECOND), "too late, and for another one");
        assert_eq!(live.user_ping(&mut second, now + 12 * SECOND), PingProgress::Waiting);
        assert!(live.pong(2, now + 12 * SECOND));
        assert_eq!(live.user_ping(&mut second, now + 12 * SECOND), PingProgress::Answered(SECOND));
    }

    #[test]
    fn y_ping_7_a_call_does_not_share_the_ping_that_is_under_way() {
        let (mut live, now) = pinger(None);
        live.ping_encoded(1, now);
        let (mut ticket, later) = (None, now + 9 * SECOND);
        assert_eq!(live.user_ping(&mut ticket, later), PingProgress::Waiting);
        assert!(!live.is_owed(), "one at a time");
        assert!(live.pong(1, later));
        assert_eq!(live.user_ping(&mut ticket, later), PingProgress::Waiting, "answered in no time");
        assert!(live.is_owed());
        live.ping_encoded(2, later);
        assert!(live.pong(2, later + SECOND));
        assert_eq!(live.user_ping(&mut ticket, later + SECOND), PingProgress::Answered(SECOND));
    }

    #[test]
    fn y_ping_8_a_call_has_its_own_time_though_another_ping_times_out() {
        let (mut live, now) = pinger(None);
        live.ping_encoded(1, now);
        let (mut ticket, end) = (None, now + 10 * SECOND);
        assert_eq!(live.user_ping(&mut ticket, now + 9 * SECOND), PingProgress::Waiting);
        assert_eq!(live.handle_timeout(end), Verdict::Fine);
        assert_eq!(live.user_ping(&mut ticket, end), PingProgress::Waiting, "timed out at once");
        assert!(live.is_owed());
        live.ping_encoded(2, end);
        assert_eq!(live.handle_timeout(end + 9 * SECOND), Verdict::Fine);
        assert_eq!(live.user_ping(&mut ticket, end + 9 * SECOND), PingProgress::Waiting);
        assert_eq!(live.handle_timeout(end + 10 * SECOND), Verdict::Fine);
        assert_eq!(live.user_ping(&mut ticket, end + 10 * SECOND), PingProgress::TimedOut);
    }
}
