//! Owns [`Rtt`]: the round-trip time as pings measure it, and the smallest one lately.
//!
//! A ping that waits behind bulk data, here or at the peer, takes longer than the link. The minimum over the last two
//! periods is the link's own time, and follows when the path changes (Y-FLOW-9).

use std::time::Duration;
use web_time::Instant;

/// Samples in a period of the minimum filter.
const PERIOD: u32 = 8;

/// Latest and filtered round-trip time.
#[derive(Clone, Debug, Default)]
pub(super) struct Rtt {
    latest: Option<Duration>,
    current: Option<Duration>,
    previous: Option<Duration>,
    samples: u32,
}

impl Rtt {
    pub(super) fn sample(&mut self, sent: Instant, now: Instant) -> Duration {
        // Zero would say that a link delivers infinitely fast.
        let sample = now.saturating_duration_since(sent).max(Duration::from_nanos(1));
        if self.samples == PERIOD {
            (self.previous, self.current, self.samples) = (self.current, None, 0);
        }
        self.samples = self.samples.saturating_add(1);
        self.latest = Some(sample);
        self.current = Some(self.current.map_or(sample, |current| current.min(sample)));
        sample
    }

    /// A sample that is known to have waited for more than the link: it says something only if it is shorter than others.
    pub(super) fn sample_loaded(&mut self, sent: Instant, now: Instant) -> Duration {
        let sample = now.saturating_duration_since(sent).max(Duration::from_nanos(1));
        self.current = self.current.map(|current| current.min(sample));
        sample
    }

    pub(super) const fn latest(&self) -> Option<Duration> {
        self.latest
    }

    pub(super) fn minimum(&self) -> Option<Duration> {
        self.current.into_iter().chain(self.previous).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rtt: &mut Rtt, millis: u64) {
        let now = Instant::now();
        rtt.sample(now, now + Duration::from_millis(millis));
    }

    #[test]
    fn e3_samples_under_load_do_not_raise_the_minimum() {
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
}
