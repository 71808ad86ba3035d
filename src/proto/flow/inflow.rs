//! Owns [`Inflow`]: how much credit streams of lower buckets get while streams of several priorities are in use.
//!
//! A peer that knows no pacing sends what its credit allows, and what it has sent cannot be overtaken. So all that the
//! peer may send on the streams of lower buckets together is kept near the bandwidth-delay product of the path
//! (Y-PRIO-8). Each of them gets an equal share, and never so little that it stands still. Never looks at a stream.

use super::filter::Filter;
use std::time::Duration;
use web_time::Instant;

/// What the streams may send together, in percent of the bandwidth-delay product. Credit comes in quarters of a share, so
/// that seven eighths of this are on their way on average. Enough for a peer that paces itself at 115 %.
const GAIN: u64 = 150;

/// The least share of a stream, in bytes. It is more than `CREDIT_LEFT`, which some peers never use.
const LEAST: u32 = 12 * 1024;

/// The time over which arrivals are measured, in round trips and at least, and the length of a period of the filter. After
/// a loss all that waited behind it arrives at once, so a shorter time would measure that.
const INTERVAL_ROUND_TRIPS: u32 = 8;
const INTERVAL_LEAST: Duration = Duration::from_millis(200);
const PERIOD: Duration = Duration::from_secs(3);

/// Pings in that time that tell that the peer paces itself, as this crate does: its markers.
const PACED_PINGS: u32 = 4;

/// What arrives on the streams of lower buckets.
#[derive(Debug, Default)]
pub(in crate::proto) struct Inflow {
    state: Option<Box<State>>,
}

#[derive(Debug)]
struct State {
    /// Number of the interval. A stream that it is written to has been counted in it.
    number: u8,
    since: Instant,
    bytes: u64,
    streams: u32,
    /// Streams of the interval before.
    known_streams: u32,
    /// Pings of the peer.
    pings: u32,
    /// Whether the peer paces itself: then two limits would hold back the same bytes.
    is_paced: bool,
    /// Bytes a second.
    rate: Filter<u64>,
    period_ends: Instant,
}

impl Inflow {
    /// Bytes of a stream have arrived. `counted` is the interval in which it was last counted.
    pub(in crate::proto) fn arrived(&mut self, bytes: usize, counted: &mut u8, round_trip: Duration, now: Instant) {
        let state = self.state.get_or_insert_with(|| Box::new(State::new(now)));
        if now.saturating_duration_since(state.since)
            >= round_trip.saturating_mul(INTERVAL_ROUND_TRIPS).max(INTERVAL_LEAST)
        {
            state.next_interval(now);
        }
        state.bytes = state.bytes.saturating_add(bytes as u64);
        if *counted != state.number {
            *counted = state.number;
            state.streams = state.streams.saturating_add(1);
        }
    }

    /// A ping of the peer has arrived.
    pub(in crate::proto) fn ping(&mut self) {
        if let Some(state) = &mut self.state {
            state.pings = state.pings.saturating_add(1);
        }
    }

    /// The most credit that each stream may have, in bytes; `None` while nothing is known.
    pub(in crate::proto) fn share(&self, round_trip: Duration) -> Option<u32> {
        let state = self.state.as_deref().filter(|state| !state.is_paced)?;
        let rate = u128::from(state.rate.largest()?);
        let product = rate.saturating_mul(round_trip.as_nanos()).checked_div(1_000_000_000)?;
        let all = product.saturating_mul(GAIN.into()) / 100;
        let share = all.checked_div(state.streams.max(state.known_streams).max(1).into())?;
        Some(u32::try_from(share).unwrap_or(u32::MAX).max(LEAST))
    }

    /// Nothing is held back any more.
    pub(in crate::proto) fn stop(&mut self) {
        self.state = None;
    }
}

impl State {
    const fn new(now: Instant) -> Self {
        Self {
            number: 1,
            since: now,
            bytes: 0,
            streams: 0,
            known_streams: 0,
            pings: 0,
            is_paced: false,
            rate: Filter::new(),
            period_ends: now,
        }
    }

    fn next_interval(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_nanos();
        let rate = u128::from(self.bytes).saturating_mul(1_000_000_000).checked_div(elapsed);
        if now >= self.period_ends {
            self.rate.next_period();
            self.period_ends = now.checked_add(PERIOD).unwrap_or(now);
        }
        if let Some(rate) = rate.and_then(|rate| u64::try_from(rate).ok()) {
            self.rate.most(rate);
        }
        // 0 is the interval of streams that were never counted.
        self.number = self.number.checked_add(1).unwrap_or(1);
        self.is_paced = self.pings >= PACED_PINGS;
        (self.since, self.bytes, self.pings) = (now, 0, 0);
        (self.known_streams, self.streams) = (self.streams, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const ROUND_TRIP: Duration = Duration::from_millis(40);

    /// So many streams on which bytes arrive in turn, a million a second, for a second.
    fn arrive(inflow: &mut Inflow, streams: usize, mut now: Instant) -> Instant {
        let mut counted = vec![0; streams];
        for n in 0..1000 {
            inflow.arrived(1000, &mut counted[n % streams], ROUND_TRIP, now);
            now += MILLI;
        }
        now
    }

    #[test]
    fn y_prio_8_streams_share_what_fills_the_path() {
        for (streams, share) in [(1, 60_000), (2, 30_000), (4, 15_000), (16, LEAST)] {
            let mut inflow = Inflow::default();
            assert_eq!(inflow.share(ROUND_TRIP), None);
            arrive(&mut inflow, streams, Instant::now());
            let got = inflow.share(ROUND_TRIP).expect("measured");
            assert!(got.abs_diff(share) <= share / 20, "{got} for each of {streams}");
            inflow.stop();
            assert_eq!(inflow.share(ROUND_TRIP), None);
        }
    }

    #[test]
    fn y_prio_8_a_peer_that_sends_markers_is_not_limited() {
        let mut inflow = Inflow::default();
        let now = arrive(&mut inflow, 1, Instant::now());
        (0..PACED_PINGS).for_each(|_| inflow.ping());
        let now = arrive(&mut inflow, 1, now);
        assert!(inflow.share(ROUND_TRIP).is_some(), "they are counted by the interval");
        (0..1000).for_each(|_| inflow.ping());
        let mut counted = 0;
        inflow.arrived(1, &mut counted, ROUND_TRIP, now + 400 * MILLI);
        assert_eq!(inflow.share(ROUND_TRIP), None);
    }
}
