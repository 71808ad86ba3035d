//! Owns [`Rtt`]: the round-trip time as pings measure it, and its recent minimum.
//!
//! A ping that waits behind bulk data, here or at the peer, takes longer than the path does. The minimum of the last two
//! periods is taken as the round trip of the path without queues, and follows a change of path (Y-FLOW-9).
//!
//! A minimum that is too short would keep windows small for minutes. It shows when the peer has used all its credit, and
//! its next bytes come later than the minimum after more was granted. Then a few pings are sent; if all of them take longer,
//! the least of them replaces the minimum (Y-FLOW-12).
//!
//! A clock with steps of 16 or 100 ms may measure zero, so a step is added to what it measures (Y-FLOW-13).

use crate::proto::limits::{DOUBT_LEAST, DOUBT_PAUSE, NEAR_ROUND_TRIP, TICK_LEAST, TICK_MOST};
use std::time::Duration;
use web_time::Instant;

/// Samples in a period of the minimum filter. Trades the time until a longer path is believed, two periods of 4 minutes with
/// the default `measure_rtt_interval` of 30 s unless probes find it at once, against a period of delayed pongs alone.
const PERIOD: u32 = 8;

/// Pings that have to be longer than the minimum before it is replaced: one or two of them may have been delayed. Trades
/// one round trip a ping, for which windows stay too small, against a queue that is taken for a longer path.
const PROBES: u8 = 4;

/// How often the peer must have waited for credit before pings probe the path, and before their result counts. A link
/// that stalls once and then carries its backlog makes the peer wait once, so 2 is the least number that tells a longer
/// path from a stall; the third wait falls into the probing itself.
const FIRST_WAITS: u8 = 2;
const WAITS: u8 = 3;

/// The second wait must come within this many times the first one. On a longer path each round trip of a busy stream brings
/// a wait, so 10 allows for one that pauses in between; more would pair unrelated stalls.
const AGAIN: u32 = 10;

/// The least sample: a round trip of zero would stand for infinite bandwidth.
const SHORTEST: Duration = Duration::from_nanos(1);

/// Steps of the clock that are seen before the smallest of them is believed.
const STEPS: u8 = 2;

/// Latest and filtered round-trip time.
#[derive(Clone, Debug)]
pub(in crate::proto) struct Rtt {
    latest: Option<Duration>,
    current: Option<Duration>,
    previous: Option<Duration>,
    samples: u32,
    probe: Option<Probe>,
    /// Until when no further doubt is raised.
    settled: Option<Instant>,
    /// The smallest step of the clock seen so far.
    step: Duration,
    steps: u8,
}

/// A probe of a minimum that may be too short.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The shortest wait of the peer for credit.
    waited: Duration,
    waits: u8,
    since: Instant,
    /// The shortest sample since then.
    least: Duration,
    left: u8,
}

impl Default for Rtt {
    fn default() -> Self {
        Self {
            latest: None,
            current: None,
            previous: None,
            samples: 0,
            probe: None,
            settled: None,
            step: Duration::MAX,
            steps: 0,
        }
    }
}

impl Rtt {
    pub(in crate::proto) fn sample(&mut self, sent: Instant, now: Instant) -> Duration {
        let sample = elapsed(sent, now);
        if self.samples == PERIOD {
            (self.previous, self.current, self.samples) = (self.current, None, 0);
        }
        self.samples = self.samples.saturating_add(1);
        self.latest = Some(sample);
        self.current = Some(self.current.map_or(sample, |current| current.min(sample)));
        if let Some(probe) = self.probe.take() {
            self.probe(probe, sample, now);
        }
        sample
    }

    /// A sample of a ping behind bulk data: it counts only if it is shorter than others.
    pub(in crate::proto) fn sample_loaded(&mut self, sent: Instant, now: Instant) {
        let sample = elapsed(sent, now);
        self.current = self.current.map(|current| current.min(sample));
    }

    pub(in crate::proto) const fn latest(&self) -> Option<Duration> {
        self.latest
    }

    pub(in crate::proto) fn minimum(&self) -> Option<Duration> {
        self.current.into_iter().chain(self.previous).min()
    }

    /// The round trip for all decisions: the minimum, plus the step that the clock may have missed (Y-FLOW-13).
    pub(in crate::proto) fn round_trip(&self) -> Option<Duration> {
        let tick = self.tick();
        // Exactly one step where the round trip was too short to be measured, so that bytes measured within one step
        // are those of a round trip.
        let seen = |minimum: &Duration| tick.is_zero() || *minimum > SHORTEST;
        self.minimum().map(|minimum| Some(minimum).filter(seen).unwrap_or_default().saturating_add(tick))
    }

    /// The round trip, if it is so short that the turns of both ends' tasks dominate it.
    pub(in crate::proto) fn short_round_trip(&self) -> Option<Duration> {
        self.round_trip().filter(|round_trip| *round_trip < NEAR_ROUND_TRIP)
    }

    // ---- a longer path -------------------------------------------------------------------------------------------

    /// The peer has waited this long for credit while nothing else arrived. Returns whether pings have to probe if the
    /// path has become that long (Y-FLOW-12).
    pub(in crate::proto) fn doubt(&mut self, waited: Duration, now: Instant) -> bool {
        if waited < DOUBT_LEAST || !self.is_longer(waited) || self.settled.is_some_and(|at| now < at) {
            return false;
        }
        let first = Probe { waited, waits: 0, since: now, least: Duration::MAX, left: PROBES };
        let lone = |probe: &Probe| {
            probe.waits < FIRST_WAITS && now.saturating_duration_since(probe.since) > waited.saturating_mul(AGAIN)
        };
        let mut probe = self.probe.filter(|probe| !lone(probe)).unwrap_or(first);
        probe.waited = probe.waited.min(waited);
        probe.waits = probe.waits.saturating_add(1);
        self.probe = Some(probe);
        self.is_doubted()
    }

    /// Whether the probe needs another ping.
    pub(in crate::proto) fn is_doubted(&self) -> bool {
        self.probe.is_some_and(|probe| probe.waits >= FIRST_WAITS)
    }

    fn probe(&mut self, mut probe: Probe, sample: Duration, now: Instant) {
        probe.least = probe.least.min(sample);
        probe.left = probe.left.saturating_sub(1);
        let longer = self.is_longer(sample);
        if longer && probe.left > 0 {
            self.probe = Some(probe);
            return;
        }
        self.settled = now.checked_add(DOUBT_PAUSE);
        if longer && probe.waits >= WAITS {
            (self.current, self.previous, self.samples) = (Some(probe.least.min(probe.waited)), None, 1);
        }
    }

    /// Whether this sample is too long for the path of the minimum.
    fn is_longer(&self, sample: Duration) -> bool {
        self.round_trip().is_some_and(|round_trip| sample > round_trip.saturating_mul(2))
    }

    // ---- the clock -----------------------------------------------------------------------------------------------

    /// The clock has advanced by `step` since it was last read.
    pub(in crate::proto) fn clock_shows(&mut self, step: Duration) {
        if step.is_zero() || self.step < TICK_LEAST {
            return;
        }
        self.step = self.step.min(step);
        self.steps = self.steps.saturating_add(1);
    }

    /// The part of a round trip that the clock may have missed.
    fn tick(&self) -> Duration {
        let known = self.steps >= STEPS && (TICK_LEAST..=TICK_MOST).contains(&self.step);
        if known { self.step } else { Duration::ZERO }
    }
}

/// A sample of zero would stand for infinite bandwidth.
fn elapsed(sent: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(sent).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rtt: &mut Rtt, millis: u64) {
        let now = Instant::now();
        rtt.sample(now, now + Duration::from_millis(millis));
    }

    #[test]
    fn y_flow_9_samples_under_load_do_not_raise_the_minimum() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.minimum(), None);
        for millis in [50, 70_000, 900, 400] {
            sample(&mut rtt, millis);
        }
        assert_eq!(rtt.minimum(), Some(Duration::from_millis(50)));
        assert_eq!(rtt.latest(), Some(Duration::from_millis(400)));
    }

    #[test]
    fn a_longer_path_is_believed_after_two_periods() {
        let mut rtt = Rtt::default();
        sample(&mut rtt, 10);
        for _ in 0..2 * PERIOD - 1 {
            sample(&mut rtt, 100);
        }
        assert_eq!(rtt.minimum(), Some(Duration::from_millis(10)));
        sample(&mut rtt, 100);
        assert_eq!(rtt.minimum(), Some(Duration::from_millis(100)));
    }

    #[test]
    fn a_loaded_sample_lowers_the_minimum_and_ages_nothing() {
        let (mut rtt, now) = (Rtt::default(), Instant::now());
        sample(&mut rtt, 10);
        for millis in std::iter::repeat_n(100, 3 * PERIOD as usize).chain([5]) {
            rtt.sample_loaded(now, now + Duration::from_millis(millis));
            let minimum = Duration::from_millis(millis.min(10));
            assert_eq!((rtt.minimum(), rtt.latest()), (Some(minimum), Some(Duration::from_millis(10))));
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_the_smallest_time() {
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(Rtt::default().sample(now, now - Duration::from_secs(1)), Duration::from_nanos(1));
    }

    const MILLI: Duration = Duration::from_millis(1);

    /// A short round trip, then doubts with pings in between that take so long each. Gives what comes of it.
    fn doubted(short: Duration, waits: &[u64], pings: &[u64]) -> Duration {
        let (mut rtt, now) = (Rtt::default(), Instant::now());
        rtt.sample(now, now + short);
        let before = waits[0] as u32 * MILLI;
        assert!(!rtt.doubt(before, now), "once is not enough");
        let (mut waits, mut pings) = (waits.iter(), pings.iter());
        loop {
            let (wait, ping) = (waits.next(), pings.next());
            if let Some(millis) = wait {
                rtt.doubt(*millis as u32 * MILLI, now);
            }
            if let Some(millis) = ping.filter(|_| rtt.is_doubted()) {
                rtt.sample(now, now + *millis as u32 * MILLI);
            }
            if wait.is_none() && ping.is_none() {
                assert!(!rtt.is_doubted() || pings.len() == 0);
                return rtt.minimum().expect("there is one");
            }
        }
    }

    #[test]
    fn y_flow_12_a_minimum_too_short_is_soon_forgotten() {
        let short = Duration::from_micros(50);
        assert_eq!(doubted(short, &[80, 80, 80, 80], &[81, 95, 80, 81]), 80 * MILLI);
        // The shorter of what pings say and of what credit says.
        assert_eq!(doubted(short, &[80, 90, 70, 80], &[180, 190, 170, 180]), 70 * MILLI);
        assert_eq!(doubted(short, &[500, 600, 700, 800], &[81, 83, 82, 85]), 81 * MILLI);
        assert_eq!(doubted(20 * MILLI, &[80, 80, 80], &[80, 80, 80, 80]), 80 * MILLI);
    }

    #[test]
    fn y_flow_12_one_short_ping_settles_a_doubt() {
        let short = Duration::from_micros(50);
        // A sender that has nothing to send looks like one that waits.
        for pings in [[0, 80, 80, 80], [80, 80, 80, 0]] {
            assert!(doubted(short, &[80, 80, 80, 80], &pings) <= short);
        }
        // It waited once: the link stood still.
        assert_eq!(doubted(short, &[1000], &[80, 80, 80, 80]), short);
        // And what is not so much longer says nothing.
        assert_eq!(doubted(41 * MILLI, &[80, 80, 80, 80], &[80, 80, 80, 80]), 41 * MILLI);
        assert_eq!(doubted(short, &[1, 1, 1, 1], &[80, 80, 80, 80]), short);
    }

    #[test]
    fn y_flow_12_vain_doubts_cost_at_most_a_ping_a_second() {
        let (mut rtt, start) = (Rtt::default(), Instant::now());
        rtt.sample(start, start + MILLI / 10);
        let mut pings = 0;
        for millis in 0..10_000 {
            let now = start + millis * MILLI;
            if rtt.doubt(80 * MILLI, now) {
                pings += 1;
                rtt.sample(now, now + MILLI / 10);
            }
        }
        assert!(pings <= 11, "{pings}");
    }

    #[test]
    fn y_flow_12_a_peer_that_waits_now_and_then_costs_no_ping() {
        let (mut rtt, start) = (Rtt::default(), Instant::now());
        rtt.sample(start, start + MILLI / 10);
        for wait in 0..100 {
            assert!(!rtt.doubt(80 * MILLI, start + wait * 801 * MILLI));
        }
    }

    #[test]
    fn y_flow_13_what_a_coarse_clock_may_have_missed_counts() {
        for (tick, measured) in [(16, 0), (16, 16), (100, 0), (100, 100), (1, 0)] {
            let (mut rtt, start) = (Rtt::default(), Instant::now());
            rtt.sample(start, start + measured * MILLI);
            for step in [0, 3 * tick, 0, tick, 2 * tick, tick] {
                rtt.clock_shows(step * MILLI);
            }
            assert_eq!(rtt.round_trip(), Some((measured + tick) * MILLI));
            // One step that is smaller shows that the clock is not so coarse.
            rtt.clock_shows(MILLI / 2);
            assert_eq!(rtt.round_trip(), rtt.minimum());
        }
        // A clock that was looked at once, or hardly ever.
        for steps in [&[50 * MILLI][..], &[1000 * MILLI, 700 * MILLI]] {
            let (mut rtt, start) = (Rtt::default(), Instant::now());
            rtt.sample(start, start + MILLI);
            steps.iter().for_each(|step| rtt.clock_shows(*step));
            assert_eq!(rtt.round_trip(), Some(MILLI));
        }
    }
}
