//! Owns [`Pauses`]: whether bytes go on arriving while no answer comes.
//!
//! A lost packet holds up the answers to all that arrives behind it, and a busy peer answers seldom. What is sent meanwhile
//! waits in no queue, so less is on its way than the answers say. A transport that really stands is told apart by what
//! has arrived when the answers come again.

use std::time::Duration;
use web_time::Instant;

/// From this part of the least round trip on, the time without an answer is a pause: of two markers in it neither was answered.
const PART: u32 = 8;

/// What has to arrive in a pause, in percent of what the bandwidth makes, for the path to count as going on meanwhile. A congestion
/// controller that takes back its rate after a loss takes 30 % or a half away. Measured with 75: bulk kept 88 % beside a peer with a
/// turn every 20 ms (`y_prio_5_a_peer_whose_turns_are_rare_does_not_starve_bulk`).
const KEPT: u64 = 50;

/// Where less than so many percent arrive in a pause of half a round trip or more, the path has less bandwidth. Measured with 0.5 % of
/// packets lost, CUBIC: p99 2.8 times that of an idle link, and 4.1 without it and without `since` (docs/performance.md).
const SLOWER: u64 = 90;

/// For so many round trips bytes can be assumed to arrive without an answer: one until a lost packet is sent again and answered, and
/// another for one that is lost twice.
const LONGEST: u32 = 2;

#[derive(Debug, Default)]
pub(in crate::proto) struct Pauses {
    last: Option<Pause>,
    /// Whether bytes arrived in the pause before.
    goes_on: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    began: Instant,
    ended: Instant,
    /// What had been delivered when it began.
    delivered: u64,
}

/// The state of a path before an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Before {
    /// Since when an answer is due.
    pub(in crate::proto) since: Instant,
    /// When the last one came.
    pub(in crate::proto) answered_at: Instant,
    /// Bytes delivered.
    pub(in crate::proto) delivered: u64,
    /// Bytes a second.
    pub(in crate::proto) bandwidth: u64,
    /// The least round trip.
    pub(in crate::proto) round_trip: Duration,
}

impl Before {
    /// The least time without an answer that is a pause.
    fn least(&self) -> Duration {
        self.round_trip.checked_div(PART).unwrap_or_default()
    }

    /// When the time without an answer becomes a pause.
    fn pauses_at(&self) -> Instant {
        self.since.checked_add(self.least()).unwrap_or(self.since)
    }

    /// For how long bytes can be assumed to arrive.
    fn longest(&self) -> Duration {
        self.round_trip.saturating_mul(LONGEST)
    }

    /// Bytes that arrive in this time.
    fn bytes_in(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.bandwidth).saturating_mul(time.as_nanos()) / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl Pauses {
    /// An answer has come. Returns what is left of the bandwidth, in percent, if a pause is over in which less arrived.
    pub(in crate::proto) fn answered(&mut self, before: &Before, now: Instant) -> Option<u64> {
        let mut left = None;
        let pauses = now >= before.pauses_at();
        let is_past = |pause: &Pause| now.saturating_duration_since(pause.ended) >= before.least();
        // By then all answers have come that the pause has held up.
        if let Some(pause) = self.last.filter(|pause| pauses || is_past(pause)) {
            // No more was sent than could be assumed to arrive.
            let lasted = pause.ended.saturating_duration_since(pause.began).min(before.longest());
            let time = before.answered_at.saturating_duration_since(pause.ended).saturating_add(lasted);
            let expected = before.bytes_in(time);
            let arrived = before.delivered.saturating_sub(pause.delivered);
            let percent = arrived.saturating_mul(100).checked_div(expected);
            self.goes_on = percent.is_some_and(|percent| percent >= KEPT);
            let is_long = lasted.saturating_mul(2) >= before.round_trip;
            left = percent.filter(|percent| is_long && self.goes_on && *percent < SLOWER);
            self.last = None;
        }
        if pauses {
            self.last = Some(Pause { began: before.since, ended: now, delivered: before.delivered });
        }
        left
    }

    /// Bytes that have arrived without an answer that says so, as far as that can be assumed: those of two round trips at most.
    pub(in crate::proto) fn assumed(&self, before: &Before, now: Instant) -> u64 {
        if !self.goes_on || now < before.pauses_at() {
            return 0;
        }
        before.bytes_in(now.saturating_duration_since(before.since).min(before.longest()))
    }

    /// When so many bytes can be assumed to have arrived, if that is ever the case without an answer.
    pub(in crate::proto) fn assumed_at(&self, bytes: u64, before: &Before) -> Option<Instant> {
        let nanos = u128::from(bytes).saturating_mul(1_000_000_000).checked_div(before.bandwidth.into())?;
        let time = Duration::from_nanos(u64::try_from(nanos).ok()?.saturating_add(1));
        let at = before.since.checked_add(time)?.max(before.pauses_at());
        (self.goes_on && time <= before.longest()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// A path of 40 ms on which a byte arrives in each microsecond, with an answer each 4 ms; but for one pause of so many
    /// milliseconds, after which so many bytes have arrived.
    fn after(pause: u32, arrived: u64) -> (Pauses, Before, Instant) {
        let start = Instant::now();
        let mut before =
            Before { since: start, answered_at: start, delivered: 0, bandwidth: 1_000_000, round_trip: 40 * MILLI };
        let (mut pauses, mut now) = (Pauses::default(), start);
        for answer in 0..100 {
            now += if answer == 50 { pause * MILLI } else { 4 * MILLI };
            pauses.answered(&before, now);
            before.delivered += if answer == 50 { arrived } else { 4000 };
            (before.since, before.answered_at) = (now, now);
        }
        (pauses, before, now)
    }

    #[test]
    fn y_prio_6_bytes_go_on_arriving_in_a_pause_like_the_last() {
        let (pauses, before, now) = after(40, 40_000);
        assert_eq!(pauses.assumed(&before, now + 4 * MILLI), 0);
        assert_eq!(pauses.assumed(&before, now + 20 * MILLI), 20_000);
        // Those of two round trips at most.
        assert_eq!(pauses.assumed(&before, now + 1000 * MILLI), 80_000);
        for (bytes, after) in [(1000, 5), (20_000, 20), (40_000, 40)] {
            let at = pauses.assumed_at(bytes, &before).expect("within two round trips");
            assert!(
                pauses.assumed(&before, at) >= bytes && at <= now + after * MILLI + Duration::from_nanos(1),
                "{bytes}"
            );
        }
        assert_eq!(pauses.assumed_at(80_001, &before), None);
    }

    #[test]
    fn y_prio_6_nothing_is_assumed_where_a_pause_held_up_the_path() {
        for (pause, arrived) in [(40, 15_000), (200, 30_000), (4, 4000)] {
            let (pauses, before, now) = after(pause, arrived);
            assert_eq!((pauses.assumed(&before, now + 100 * MILLI), pauses.assumed_at(1, &before)), (0, None));
        }
    }
}
