//! Owns [`Delivery`]: how fast the peer takes what this end sends, and how many bytes are on their way to it.
//!
//! A transport does not tell its user what has arrived, so pings serve as markers: the pong says that the peer has read
//! every byte before the ping. The bandwidth is the delivery rate as in BBR: the bytes that were delivered between
//! sending a marker and its answer, by the time between. Samples that are application-limited are marked. The round trip
//! is the least of recent markers. Never decides which stream may send.

use super::pauses::{Before, Pauses};
use crate::proto::flow::filter::Filter;
use crate::proto::limits::MARKERS;
use std::collections::VecDeque;
use std::time::Duration;
use web_time::Instant;

/// A period of the filters lasts for so many round trips, and for `PERIOD_LEAST` at least. The largest bandwidth and the
/// least round trip of the last two periods count: bandwidth that is gone is believed after one to two periods.
const PERIOD_ROUND_TRIPS: u32 = 20;
const PERIOD_LEAST: Duration = Duration::from_secs(2);

/// What is known of a path.
#[derive(Debug)]
pub(in crate::proto) struct Delivery {
    /// Bytes sent so far, and those of them of which the peer has told that it has read them.
    sent: u64,
    delivered: u64,
    delivered_at: Instant,
    /// When the last marker left that was answered.
    answered_sent_at: Instant,
    /// While fewer bytes are delivered, samples may be too low: there was too little to send.
    limited_until: u64,
    /// Markers that were not answered, the oldest first.
    markers: VecDeque<Marker>,
    /// Bytes sent when the last marker left.
    marked: u64,
    bandwidth: Filter<u64>,
    /// The largest of the last one to two round trips, whatever is known from before.
    recent: Filter<u64>,
    recent_ends: Instant,
    round_trip: Filter<Duration>,
    period_ends: Instant,
    pauses: Pauses,
    /// Markers that left before say nothing of what is on its way.
    restarted_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Marker {
    nonce: u32,
    sent_at: Instant,
    /// Bytes before it.
    sent: u64,
    /// What had been delivered when it left, when that was known, and when the marker left that said so.
    delivered: u64,
    delivered_at: Instant,
    answered_sent_at: Instant,
    limited: bool,
    /// A later one was answered, so that this one has nothing more to say.
    is_overtaken: bool,
}

/// What a pong says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Answer {
    /// It answers no marker.
    NoMarker,
    /// It answers a marker that has nothing more to say.
    Stale,
    Sample(Sample),
}

/// A sample of the path: what one answer has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Sample {
    pub(in crate::proto) round_trip: Duration,
    /// Whether there was too little to send for the bandwidth to mean much.
    pub(in crate::proto) limited: bool,
    /// When its marker left.
    pub(in crate::proto) sent_at: Instant,
    /// Whether a period of the filters has begun with it.
    pub(in crate::proto) new_period: bool,
}

impl Delivery {
    pub(in crate::proto) fn new(now: Instant) -> Self {
        Self {
            sent: 0,
            delivered: 0,
            delivered_at: now,
            answered_sent_at: now,
            limited_until: 0,
            markers: VecDeque::new(),
            marked: 0,
            bandwidth: Filter::new(),
            recent: Filter::new(),
            recent_ends: now,
            round_trip: Filter::new(),
            period_ends: now.checked_add(PERIOD_LEAST).unwrap_or(now),
            pauses: Pauses::default(),
            restarted_at: now,
        }
    }

    /// Bytes were encoded.
    pub(in crate::proto) fn sent(&mut self, bytes: u64, now: Instant) {
        if self.on_the_way() == 0 {
            // The time until now is none of the path's.
            (self.delivered_at, self.answered_sent_at) = (now, now);
        }
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Bytes that the peer may not have read, as far as is known.
    pub(in crate::proto) const fn on_the_way(&self) -> u64 {
        self.sent.saturating_sub(self.delivered)
    }

    /// The same, less those that can be assumed to have arrived while no answer comes.
    pub(in crate::proto) fn likely_on_the_way(&self, now: Instant) -> u64 {
        let assumed = self.before().map_or(0, |before| self.pauses.assumed(&before, now));
        self.on_the_way().saturating_sub(assumed)
    }

    /// When no more than so many bytes are likely to be on their way, if that can be assumed without an answer.
    pub(in crate::proto) fn likely_at(&self, bytes: u64) -> Option<Instant> {
        self.pauses.assumed_at(self.on_the_way().saturating_sub(bytes), &self.before()?)
    }

    /// Bytes sent since the last marker.
    pub(in crate::proto) const fn unmarked(&self) -> u64 {
        self.sent.saturating_sub(self.marked)
    }

    /// Since when the oldest marker waits for its answer.
    pub(in crate::proto) fn waiting_since(&self) -> Option<Instant> {
        let waiting = self.unanswered().find(|marker| marker.sent_at >= self.restarted_at);
        waiting.map(|marker| marker.sent_at)
    }

    /// Whether another marker may leave.
    pub(in crate::proto) fn has_room(&self) -> bool {
        self.unanswered().count() < MARKERS
    }

    /// Markers that say something once they are answered. Those before one that was answered are only kept to know their
    /// answers: there are peers that answer pings in any order.
    fn unanswered(&self) -> impl Iterator<Item = &Marker> {
        self.markers.iter().filter(|marker| !marker.is_overtaken)
    }

    /// Whether no marker has left since a restart.
    pub(in crate::proto) fn asks_anew(&self) -> bool {
        self.has_room() && self.last_marker_at().is_none_or(|last| last < self.restarted_at)
    }

    /// When the last marker left that was not answered.
    pub(in crate::proto) fn last_marker_at(&self) -> Option<Instant> {
        self.unanswered().last().map(|marker| marker.sent_at)
    }

    /// There is less to send than may be on its way: samples count for less until all of it is delivered.
    pub(in crate::proto) const fn limited(&mut self) {
        self.limited_until = self.sent;
    }

    /// A marker was encoded.
    pub(in crate::proto) fn marked(&mut self, nonce: u32, now: Instant) {
        let limited = self.limited_until > self.delivered;
        let (delivered, delivered_at, answered_sent_at) = (self.delivered, self.delivered_at, self.answered_sent_at);
        // Those that were overtaken may have lost their answers.
        while self.markers.len() >= MARKERS.saturating_mul(2) {
            self.markers.pop_front();
        }
        self.markers.push_back(Marker {
            nonce,
            sent_at: now,
            sent: self.sent,
            delivered,
            delivered_at,
            answered_sent_at,
            limited,
            is_overtaken: false,
        });
        self.marked = self.sent;
    }

    /// A pong has arrived. It stands for all markers before the one that it answers.
    pub(in crate::proto) fn answered(&mut self, nonce: u32, now: Instant) -> Answer {
        let before = self.before();
        let index = self.markers.iter().position(|marker| marker.nonce == nonce);
        let Some((index, marker)) = index.and_then(|index| Some((index, self.markers.remove(index)?))) else {
            return Answer::NoMarker;
        };
        if marker.is_overtaken {
            return Answer::Stale;
        }
        self.markers.iter_mut().take(index).for_each(|earlier| earlier.is_overtaken = true);
        if marker.sent_at < self.restarted_at {
            return Answer::Stale;
        }
        if let Some(percent) = before.and_then(|before| self.pauses.answered(&before, now)) {
            self.lower_to(percent);
        }
        let new = marker.sent.saturating_sub(marker.delivered);
        let elapsed = now.saturating_duration_since(marker.delivered_at);
        let sending = marker.sent_at.saturating_duration_since(marker.answered_sent_at);
        (self.delivered, self.delivered_at, self.answered_sent_at) = (marker.sent, now, marker.sent_at);
        let new_period = self.turn_periods(now);
        let round_trip = now.saturating_duration_since(marker.sent_at).max(Duration::from_nanos(1));
        self.round_trip.least(round_trip);
        // Answers that come in one bunch measure the bunch: the time it took to send the bytes counts then.
        let bandwidth = per_second(new, elapsed.max(sending));
        if let Some(sample) = bandwidth
            && (!marker.limited || self.bandwidth().is_none_or(|most| sample > most))
        {
            self.bandwidth.most(sample);
            self.recent.most(sample);
        }
        if now >= self.recent_ends {
            self.recent.next_period();
            self.recent_ends = now.checked_add(round_trip).unwrap_or(now);
        }
        Answer::Sample(Sample { round_trip, limited: marker.limited, sent_at: marker.sent_at, new_period })
    }

    /// Whether the last round trips had less than four fifths of the bandwidth.
    pub(in crate::proto) fn falls_short(&self) -> bool {
        let both = self.recent.largest().zip(self.bandwidth());
        both.is_some_and(|(recent, bandwidth)| recent.saturating_mul(5) < bandwidth.saturating_mul(4))
    }

    /// Believes that the path has no more bandwidth than in the last round trips, but lowers it by 30 % at most.
    pub(in crate::proto) fn lower_bandwidth(&mut self) {
        if let Some((recent, bandwidth)) = self.recent.largest().zip(self.bandwidth()) {
            self.bandwidth = Filter::new();
            self.bandwidth.most(recent.max(bandwidth.saturating_mul(7) / 10));
        }
    }

    /// Lowers the bandwidth to so many percent: a congestion controller has taken its rate back.
    fn lower_to(&mut self, percent: u64) {
        if let Some(bandwidth) = self.bandwidth() {
            self.bandwidth = Filter::new();
            self.bandwidth.most(bandwidth.saturating_mul(percent) / 100);
        }
    }

    /// What is known of the path since the last answer.
    fn before(&self) -> Option<Before> {
        let (bandwidth, round_trip) = self.bandwidth().zip(self.round_trip())?;
        let due_at = self.waiting_since()?.checked_add(round_trip)?;
        let (since, answered_at) = (self.delivered_at.max(due_at), self.delivered_at);
        Some(Before { since, answered_at, delivered: self.delivered, bandwidth, round_trip })
    }

    /// Bytes a second.
    pub(in crate::proto) fn bandwidth(&self) -> Option<u64> {
        self.bandwidth.largest()
    }

    pub(in crate::proto) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.smallest()
    }

    /// The bandwidth-delay product, in bytes.
    pub(in crate::proto) fn product(&self) -> Option<u64> {
        let (bandwidth, round_trip) = self.bandwidth().zip(self.round_trip())?;
        let product = u128::from(bandwidth).saturating_mul(round_trip.as_nanos()).checked_div(1_000_000_000)?;
        Some(u64::try_from(product).unwrap_or(u64::MAX))
    }

    /// Forgets what is on its way, and keeps what is known of the path: markers were not sent for a while.
    pub(in crate::proto) fn restart(&mut self, now: Instant) {
        // The answers of older markers say nothing any more, and are still to come.
        self.restarted_at = now;
        (self.delivered, self.marked, self.limited_until) = (self.sent, self.sent, self.sent);
        (self.delivered_at, self.answered_sent_at) = (now, now);
    }

    /// Frees spare storage.
    pub(in crate::proto) fn shrink(&mut self) {
        self.markers.shrink_to_fit();
    }

    fn turn_periods(&mut self, now: Instant) -> bool {
        if now < self.period_ends {
            return false;
        }
        let period = self.round_trip().unwrap_or_default().saturating_mul(PERIOD_ROUND_TRIPS).max(PERIOD_LEAST);
        self.bandwidth.next_period();
        self.round_trip.next_period();
        self.period_ends = now.checked_add(period).unwrap_or(now);
        true
    }
}

fn per_second(bytes: u64, time: Duration) -> Option<u64> {
    let rate = u128::from(bytes).saturating_mul(1_000_000_000).checked_div(time.as_nanos())?;
    u64::try_from(rate).ok().filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// A path on which so many bytes arrive each millisecond after half of 40 ms, with `pieces` of them on their way.
    fn steady(rate: u64, pieces: u32) -> (Delivery, Instant) {
        let mut now = Instant::now();
        let mut delivery = Delivery::new(now);
        for nonce in 0..200 {
            delivery.sent(rate, now);
            delivery.marked(nonce, now);
            if let Some(answered) = nonce.checked_sub(pieces) {
                assert!(matches!(delivery.answered(answered, now), Answer::Sample(_)));
            }
            now += MILLI;
        }
        (delivery, now)
    }

    #[test]
    fn y_prio_6_answers_measure_the_path() {
        let (delivery, _) = steady(1000, 20);
        assert_eq!(delivery.round_trip(), Some(20 * MILLI));
        let bandwidth = delivery.bandwidth().expect("measured");
        assert!((950_000..=1_060_000).contains(&bandwidth), "{bandwidth}");
        assert!((19_000..=21_300).contains(&delivery.product().expect("measured")));
        assert_eq!(delivery.on_the_way(), 20_000);
    }

    #[test]
    fn y_prio_6_an_answer_stands_for_the_markers_before_it() {
        let (mut delivery, now) = steady(1000, 20);
        assert!(matches!(delivery.answered(190, now), Answer::Sample(_)));
        // Answers in another order are known, and say nothing.
        assert_eq!((delivery.on_the_way(), delivery.answered(189, now)), (9000, Answer::Stale));
        assert_eq!(delivery.answered(189, now), Answer::NoMarker);
        assert!(matches!(delivery.answered(199, now), Answer::Sample(_)));
        assert_eq!((delivery.on_the_way(), delivery.waiting_since()), (0, None));
    }

    #[test]
    fn y_prio_6_a_bunch_of_answers_is_not_a_fast_path() {
        let (mut delivery, now) = steady(1000, 20);
        let before = delivery.bandwidth();
        for nonce in 180..200 {
            delivery.answered(nonce, now + 20 * MILLI);
        }
        assert!(delivery.bandwidth() <= before.map(|bandwidth| bandwidth * 21 / 20), "{:?}", delivery.bandwidth());
    }

    #[test]
    fn y_prio_6_too_little_to_send_lowers_nothing() {
        let (mut delivery, mut now) = steady(1000, 20);
        let before = delivery.bandwidth();
        for nonce in 200..2000 {
            delivery.limited();
            delivery.sent(10, now);
            delivery.limited();
            delivery.marked(nonce, now);
            now += 20 * MILLI;
            delivery.answered(nonce, now);
        }
        assert_eq!(delivery.bandwidth(), before);
    }

    #[test]
    fn y_prio_6_bandwidth_that_is_gone_is_believed_within_two_periods() {
        let (mut delivery, mut now) = steady(1000, 20);
        for nonce in 200..4400 {
            delivery.sent(100, now);
            delivery.marked(nonce, now);
            delivery.answered(nonce - 20, now);
            now += MILLI;
        }
        let bandwidth = delivery.bandwidth().expect("measured");
        assert!((90_000..=110_000).contains(&bandwidth), "{bandwidth}");
    }

    #[test]
    fn answers_from_before_a_restart_say_nothing() {
        let (mut delivery, now) = steady(1000, 20);
        let known = (delivery.bandwidth(), delivery.round_trip());
        delivery.restart(now + MILLI);
        assert_eq!((delivery.on_the_way(), delivery.waiting_since(), delivery.asks_anew()), (0, None, true));
        assert_eq!(delivery.answered(195, now + 2 * MILLI), Answer::Stale);
        assert_eq!((delivery.bandwidth(), delivery.round_trip()), known);
        delivery.marked(500, now + 2 * MILLI);
        assert!(!delivery.asks_anew());
    }
}
