//! Owns [`SendWindow`] and [`ReceiveWindow`]: how much each side of a stream may still send, and how large a receive
//! window should be.
//!
//! Pure arithmetic over `(bytes, now, rtt)`; no frame, no queue. A window update is never queued: its value is computed
//! when it is sent, as the window less outstanding credit and unread bytes (Y-FLOW-5). The bandwidth estimate is in
//! `rate`.

use super::rate::{Rate, per_round_trip};
use crate::counting::{count_down, count_up};
use crate::proto::limits::{INITIAL_WINDOW, LARGE_WINDOW, TRAIN_START};
use std::time::Duration;
use web_time::Instant;

/// Credit that the peer has given this end, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct SendWindow {
    available: u32,
    /// The most credit that there has been at one time.
    largest: u32,
}

/// The sum of the credit does not fit 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Overflow;

impl SendWindow {
    pub(in crate::proto) const INITIAL: Self = Self { available: INITIAL_WINDOW, largest: INITIAL_WINDOW };

    pub(in crate::proto) const fn available(self) -> u32 {
        self.available
    }

    pub(in crate::proto) const fn largest(self) -> u32 {
        self.largest
    }

    /// Adds credit (Y-FLOW-7).
    pub(in crate::proto) fn credit(&mut self, delta: u32) -> Result<(), Overflow> {
        self.available = self.available.checked_add(delta).ok_or(Overflow)?;
        self.largest = self.largest.max(self.available);
        Ok(())
    }

    /// Takes up to `wanted` bytes of credit.
    pub(in crate::proto) fn take(&mut self, wanted: usize) -> usize {
        let taken = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.available);
        self.available = count_down(self.available, taken);
        taken as usize
    }
}

/// Flow control of the bytes that the peer sends on a stream. Invariant: `credit + held <= size`.
#[derive(Clone, Debug)]
pub(in crate::proto) struct ReceiveWindow {
    /// Bytes reserved for the stream: the peer's credit and what is buffered never pass it.
    size: u32,
    /// Bytes that the peer may still send.
    credit: u32,
    /// Bytes announced by the peer and not consumed by the application.
    held: u32,
    /// The largest size that there has been.
    largest: u32,
    /// The bandwidth estimate, while bytes arrive.
    rate: Option<Box<Rate>>,
}

/// A data frame is longer than the credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct BeyondCredit;

impl ReceiveWindow {
    /// Size of the bandwidth estimate, which a window allocates while bytes arrive.
    #[cfg(test)]
    pub(in crate::proto) const MEASURING: usize = size_of::<Rate>();

    /// A window of `size` bytes, of which the peer knows the first 256 KiB.
    pub(in crate::proto) fn new(size: u32) -> Self {
        let size = size.max(INITIAL_WINDOW);
        Self { size, credit: INITIAL_WINDOW, held: 0, largest: size, rate: None }
    }

    pub(in crate::proto) const fn size(&self) -> u32 {
        self.size
    }

    pub(in crate::proto) const fn largest(&self) -> u32 {
        self.largest
    }

    pub(in crate::proto) const fn credit(&self) -> u32 {
        self.credit
    }

    /// Bytes that the application has not read, as far as it has reported.
    pub(in crate::proto) const fn held(&self) -> u32 {
        self.held
    }

    /// Counts a data header against the credit (Y-FLOW-2). The last data on the connection arrived at `quiet`.
    pub(in crate::proto) fn receive(&mut self, len: u32, quiet: Instant, now: Instant) -> Result<(), BeyondCredit> {
        let credit = self.credit.checked_sub(len).ok_or(BeyondCredit)?;
        match &self.rate {
            None if count_up(self.held, len) >= TRAIN_START => self.time(len, now),
            Some(rate) if rate.bytes == 0 => self.time(len, now),
            None | Some(_) => {}
        }
        if let Some(rate) = &mut self.rate
            && credit < rate.beyond
        {
            rate.crossed(self.credit, quiet, now);
        }
        self.credit = credit;
        // Invariant: credit + held <= size, so the sum does not saturate.
        self.held = count_up(self.held, len);
        Ok(())
    }

    /// Starts the measurement when the first bytes arrive. An application that begins to read when most of them have
    /// arrived has seen nothing of the link's bandwidth. A few bytes are not worth a measurement.
    #[cold]
    fn time(&mut self, len: u32, now: Instant) {
        if self.rate.is_none() {
            self.measure(now);
        }
        if let Some(rate) = &mut self.rate
            && rate.since == now
            && !rate.begun
        {
            rate.at_once = rate.at_once.saturating_add(len);
            rate.goal = rate.goal.saturating_sub(len);
        }
    }

    /// The application has read `bytes`, or they were discarded for it.
    pub(in crate::proto) fn consume(&mut self, bytes: u32, now: Instant) {
        let bytes = bytes.min(self.held);
        self.held = count_down(self.held, bytes);
        match &mut self.rate {
            // Bytes read at the first moment arrived before it: they say nothing of the rate.
            None => self.measure(now),
            Some(rate) => rate.read(bytes),
        }
    }

    /// Credit that the window allows and that the peer has not been granted yet.
    pub(in crate::proto) fn owed(&self) -> u32 {
        count_down(count_down(self.size, self.credit), self.held)
    }

    /// Sets the most credit that the peer may have. Credit that it has already is not taken back.
    pub(in crate::proto) fn limit(&mut self, most: Option<u32>) {
        if let Some(rate) = &mut self.rate {
            rate.limit = most.unwrap_or(u32::MAX);
        }
    }

    /// The most credit that the peer may have, if that is less than a window (Y-PRIO-8).
    fn limited(&self) -> Option<u32> {
        self.rate.as_ref().map(|rate| rate.limit).filter(|limit| *limit < self.size)
    }

    /// Credit owed that the limit allows to grant, and from how much on it is due.
    fn grantable(&self) -> (u32, u32) {
        match self.limited() {
            None => (self.owed(), self.step()),
            Some(limit) => (self.owed().min(limit.saturating_sub(self.credit)), limit / 4),
        }
    }

    /// The credit that is worth a window update: half of a window, and an eighth of a large one. Of a large window a half
    /// takes longer than a round trip to arrive, on the links that need it, and meanwhile the peer may use only the other.
    const fn step(&self) -> u32 {
        if self.size > LARGE_WINDOW { self.size / 8 } else { self.size / 2 }
    }

    /// Whether the credit owed is worth a window update (Y-FLOW-4).
    pub(in crate::proto) fn is_due(&self) -> bool {
        let (credit, due) = self.grantable();
        credit >= due
    }

    /// Bytes that must be consumed until credit is due, or until it is known that the peer has used up the credit it
    /// had; at least 1.
    pub(in crate::proto) fn until_due(&self) -> u32 {
        let (credit, due) = self.grantable();
        let left = due.saturating_sub(credit);
        let spent = self.rate.as_ref().and_then(|rate| rate.goal.checked_sub(rate.bytes)).filter(|left| *left > 0);
        spent.map_or(left, |spent| left.min(spent)).max(1)
    }

    /// Whether everything has been read that the peer could send when the measurement began, and this has not been
    /// reviewed yet.
    pub(in crate::proto) fn is_spent(&self) -> bool {
        self.rate.as_ref().is_some_and(|rate| rate.goal > 0 && rate.bytes >= rate.goal)
    }

    /// Grants the credit that is owed, for a window update. The peer is held to the credit that it was granted, and to
    /// no more (Y-FLOW-3).
    ///
    /// A window that has grown grants whole steps. Reading seldom stops exactly at one: if a little more were returned,
    /// the last step would lack it, and the peer would wait for a round trip with less than a step to go.
    pub(in crate::proto) fn grant(&mut self, now: Instant) -> u32 {
        let (owed, step) = (self.owed(), self.step());
        if self.limited().is_some() {
            return self.grant_up_to(self.grantable().0, now);
        }
        let told = self.rate.as_mut().is_some_and(|rate| !std::mem::take(&mut rate.enlarged));
        let beyond = if told && self.size > INITIAL_WINDOW { owed.checked_rem(step).unwrap_or(0) } else { 0 };
        self.grant_up_to(owed.saturating_sub(beyond), now)
    }

    /// Grants at most `most` of the credit owed.
    pub(in crate::proto) fn grant_up_to(&mut self, most: u32, now: Instant) -> u32 {
        let granted = self.owed().min(most);
        self.credit = count_up(self.credit, granted);
        if let Some(rate) = &mut self.rate {
            rate.granted(granted, now);
        }
        granted
    }

    /// Takes the time that the peer has waited for credit while nothing else arrived, if it is not taken yet: no less
    /// than a round trip (Y-FLOW-12).
    pub(in crate::proto) fn take_wait(&mut self) -> Option<Duration> {
        self.rate.as_mut()?.waited.take()
    }

    /// Whether the peer has no credit and the application has nothing to read.
    pub(in crate::proto) const fn is_exhausted(&self) -> bool {
        self.credit == 0 && self.held == 0
    }

    /// Makes the window larger.
    pub(in crate::proto) fn grow(&mut self, bytes: u32) {
        self.size = count_up(self.size, bytes);
        if let Some(rate) = &mut self.rate {
            rate.enlarged = true;
        }
        self.largest = self.largest.max(self.size);
    }

    /// Shrinks the window by credit that is owed and is then not granted, never below `floor` nor below what the peer
    /// was granted. Returns the number of bytes.
    pub(in crate::proto) fn shrink(&mut self, floor: u32) -> u32 {
        let bytes = self.owed().min(self.size.saturating_sub(floor));
        self.size = count_down(self.size, bytes);
        bytes
    }

    /// Drops the bandwidth estimate: nothing has been read for a while, so it is out of date.
    pub(in crate::proto) fn forget_rate(&mut self) {
        self.rate = None;
    }

    /// Bytes by which the window should grow, so that it holds twice the bandwidth-delay product and never passes `max`
    /// (Y-FLOW-8). `None` while it is large enough, or while that cannot be known yet.
    pub(in crate::proto) fn growth(&mut self, rtt: Option<Duration>, max: u32, now: Instant) -> Option<u32> {
        let (spent, due, size) = (self.is_spent(), self.is_due(), self.size);
        let rate = self.rate.as_mut()?;
        if spent {
            // It is reviewed once.
            rate.goal = 0;
        }
        let (rtt, elapsed) = (rtt?, now.saturating_duration_since(rate.since));
        if elapsed.is_zero() {
            return None;
        }
        let target = if elapsed >= rtt {
            per_round_trip(rate.bytes, rtt, elapsed).saturating_mul(2).max(rate.train)
        } else {
            rate.look_at_train(size, spent, rtt, elapsed);
            // The growth leaves with the credit of what was read. The first window is an exception: its peer has too
            // little credit to wait for that.
            let first = size == INITIAL_WINDOW && rate.train >= 2 * INITIAL_WINDOW;
            let waits = !first && !due;
            Some(rate.train).filter(|train| *train > 0 && !waits)?
        };
        self.measure(now);
        target.min(max).checked_sub(size).filter(|growth| *growth > 0)
    }

    /// Starts a new measurement.
    fn measure(&mut self, now: Instant) {
        let goal = count_up(self.credit, self.held);
        let enlarged = self.rate.as_ref().map_or(self.owed() > 0, |rate| rate.enlarged);
        let (beyond, granted, waited, limit) = self
            .rate
            .as_ref()
            .map_or((0, now, None, u32::MAX), |rate| (rate.beyond, rate.granted, rate.waited, rate.limit));
        let rate = Rate {
            enlarged,
            at_once: 0,
            begun: false,
            bytes: 0,
            early: self.held,
            goal,
            train: 0,
            since: now,
            beyond,
            granted,
            waited,
            limit,
        };
        match &mut self.rate {
            Some(own) => **own = rate,
            None => self.rate = Some(Box::new(rate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::limits::{CREDIT_LEFT, TRAIN_GROWTH};
    use quickcheck::{Arbitrary, Gen, quickcheck};

    #[derive(Clone, Debug)]
    enum Step {
        Receive(u32),
        Consume(u32),
        GrantIfDue,
        Grow(u16),
        Shrink,
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            match u8::arbitrary(g) % 5 {
                0 => Self::Receive(u32::arbitrary(g) % 400_000),
                1 => Self::Consume(u32::arbitrary(g) % 400_000),
                2 => Self::GrantIfDue,
                3 => Self::Shrink,
                _ => Self::Grow(u16::arbitrary(g)),
            }
        }
    }

    quickcheck! {
        /// C4, A43: the window's sum holds after any history, and credit is due exactly from half the window on.
        fn credit_plus_held_plus_owed_is_the_window(steps: Vec<Step>) -> bool {
            let now = Instant::now();
            let mut window = ReceiveWindow::new(INITIAL_WINDOW);
            let (mut received, mut consumed, mut granted) = (0u64, 0u64, u64::from(INITIAL_WINDOW));
            for step in steps {
                match step {
                    Step::Receive(len) => {
                        let fits = u64::from(len) <= granted - received;
                        if window.receive(len, now, now).is_ok() != fits {
                            return false;
                        }
                        received += if fits { u64::from(len) } else { 0 };
                    }
                    Step::Consume(bytes) => {
                        let bytes = bytes.min(window.held());
                        window.consume(bytes, now);
                        consumed += u64::from(bytes);
                    }
                    Step::GrantIfDue => {
                        if window.is_due() {
                            granted += u64::from(window.grant(now));
                        }
                    }
                    Step::Grow(bytes) => window.grow(u32::from(bytes)),
                    Step::Shrink => {
                        let (before, owed) = (window.size(), window.owed());
                        let bytes = window.shrink(INITIAL_WINDOW);
                        if window.size() + bytes != before || bytes != owed.min(before - INITIAL_WINDOW) {
                            return false;
                        }
                    }
                }
                let sum = u64::from(window.credit()) + u64::from(window.held()) + u64::from(window.owed());
                let credit = u64::from(window.credit()) == granted - received;
                let held = u64::from(window.held()) == received - consumed;
                let due = window.is_due() == (window.owed() >= window.size() / 2);
                let bounds = (INITIAL_WINDOW..=window.largest()).contains(&window.size());
                if sum != u64::from(window.size()) || !credit || !held || !due || !bounds {
                    return false;
                }
            }
            true
        }

        fn send_credit_never_wraps(deltas: Vec<u32>) -> bool {
            let (mut window, mut model) = (SendWindow::INITIAL, u64::from(INITIAL_WINDOW));
            for delta in deltas {
                let fits = model + u64::from(delta) <= u64::from(u32::MAX);
                model += if fits { u64::from(delta) } else { 0 };
                if window.credit(delta).is_ok() != fits || u64::from(window.available()) != model {
                    return false;
                }
            }
            true
        }

        fn growth_needs_a_round_trip_and_keeps_to_the_maximum(bytes: u32, rtt_ms: u16, elapsed_ms: u16, max: u32) -> bool {
            let start = Instant::now();
            let (rtt, elapsed) = (Duration::from_millis(u64::from(rtt_ms)), Duration::from_millis(u64::from(elapsed_ms)));
            let max = max.max(INITIAL_WINDOW);
            let mut window = ReceiveWindow::new(INITIAL_WINDOW);
            window.rate = Some(Box::new(Rate { enlarged: false, at_once: 0, begun: true, bytes, early: 0, goal: 0, train: 0, since: start, beyond: 0, granted: start, waited: None, limit: u32::MAX }));
            let before = window.size();
            match window.growth(Some(rtt), max, start + elapsed) {
                Some(growth) => {
                    let delivered = 2.0 * f64::from(bytes) * rtt.as_secs_f64() / elapsed.as_secs_f64();
                    elapsed >= rtt && growth <= max - before && f64::from(before + growth) <= delivered + 2.0
                }
                None => {
                    let delivered = 2.0 * f64::from(bytes) * rtt.as_secs_f64() / elapsed.as_secs_f64();
                    elapsed < rtt || elapsed.is_zero() || max == before || delivered <= f64::from(before) + 3.0
                }
            }
        }
    }

    #[test]
    fn y_flow_4_credit_is_due_at_half_the_window_and_not_before() {
        let now = Instant::now();
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        window.receive(INITIAL_WINDOW, now, now).expect("within the window");
        window.consume(INITIAL_WINDOW / 2 - 1, now);
        assert!(!window.is_due());
        assert_eq!(window.until_due(), 1);
        window.consume(1, now);
        assert!(window.is_due());
        assert_eq!(window.grant(now), INITIAL_WINDOW / 2);
        assert_eq!(window.owed(), 0);
        window.consume(1, now);
        assert_eq!((window.owed(), window.until_due()), (1, INITIAL_WINDOW / 2 - 1));
    }

    #[test]
    fn a_window_becomes_smaller_by_what_the_peer_was_not_told() {
        let now = Instant::now();
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        window.grow(3 * INITIAL_WINDOW);
        assert_eq!(window.grant(now), 3 * INITIAL_WINDOW);
        assert_eq!(window.shrink(INITIAL_WINDOW), 0, "the peer has all of it");
        window.receive(INITIAL_WINDOW, now, now).expect("credit");
        assert_eq!(window.shrink(INITIAL_WINDOW), 0, "it is held");
        window.consume(INITIAL_WINDOW, now);
        assert_eq!((window.shrink(INITIAL_WINDOW), window.size()), (INITIAL_WINDOW, 3 * INITIAL_WINDOW));
        window.receive(window.credit(), now, now).expect("credit");
        window.consume(window.held(), now);
        assert_eq!(window.shrink(INITIAL_WINDOW), 2 * INITIAL_WINDOW);
        // The last window is the peer's again.
        assert_eq!((window.grant(now), window.size(), window.largest()), (INITIAL_WINDOW, INITIAL_WINDOW, 4 << 18));
    }

    #[test]
    fn a_larger_first_window_is_owed_from_the_start() {
        let now = Instant::now();
        let mut window = ReceiveWindow::new(1 << 20);
        assert_eq!(window.grant(now), (1 << 20) - INITIAL_WINDOW);
        assert_eq!(window.credit(), 1 << 20);
    }

    #[test]
    fn a_stream_that_fills_its_window_each_round_trip_doubles_it() {
        let (rtt, mut now) = (Duration::from_millis(100), Instant::now());
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        let mut sizes = Vec::new();
        window.consume(0, now);
        for _ in 0..8 {
            now += rtt;
            let size = window.size();
            window.receive(window.credit(), now, now).expect("credit");
            window.consume(size, now);
            if let Some(growth) = window.growth(Some(rtt), 16 << 20, now) {
                window.grow(growth);
            }
            window.grant(now);
            sizes.push(window.size() >> 10);
        }
        assert_eq!(sizes, [512, 1024, 2048, 4096, 8192, 16384, 16384, 16384]);
    }

    #[test]
    fn a_slow_reader_keeps_its_window() {
        let (rtt, mut now) = (Duration::from_millis(100), Instant::now());
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        for _ in 0..100 {
            now += rtt;
            window.receive(10_000, now, now).expect("credit");
            window.consume(10_000, now);
            assert_eq!(window.growth(Some(rtt), 16 << 20, now), None);
            if window.is_due() {
                window.grant(now);
            }
        }
    }

    #[test]
    fn without_a_round_trip_time_nothing_grows() {
        let now = Instant::now();
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        window.receive(200_000, now, now).expect("credit");
        window.consume(100_000, now);
        window.consume(100_000, now + Duration::from_millis(1));
        assert_eq!(window.growth(None, u32::MAX, now + Duration::from_secs(1)), None);
    }

    /// A window that is used up by pieces of 16 KiB, so far apart, and what it grows by; the first few have arrived
    /// before any is read.
    fn train(apart: Duration, early: u32, pieces: u32) -> Option<u32> {
        const PIECE: u32 = 16 << 10;
        let mut now = Instant::now();
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        window.receive(early * PIECE, now, now).expect("credit");
        for piece in 0..pieces {
            if piece >= early {
                window.receive(PIECE, now, now).expect("credit");
            }
            window.consume(PIECE, now);
            if window.is_due() || window.is_spent() {
                if let Some(growth) = window.growth(Some(Duration::from_millis(100)), 64 << 20, now) {
                    return Some(growth + window.size());
                }
                window.grant(now);
            }
            now += apart;
        }
        None
    }

    #[test]
    fn y_flow_8_a_window_used_up_early_measures_the_link() {
        let micros = Duration::from_micros;
        // 16 KiB in 262 microseconds are 62.5 MB/s, and 6.25 MB in a round trip.
        assert!(train(micros(262), 1, 16).is_some_and(|size| (12_400_000..=12_600_000).contains(&size)));
        // A peer that does not need all of it has not waited for more.
        assert_eq!(train(micros(262), 1, 15), None);
        // What had arrived before the first of it was read counts for nothing, and all of it for nothing at all.
        assert!(train(micros(262), 8, 16).is_some_and(|size| (6_600_000..=6_700_000).contains(&size)));
        assert_eq!(train(micros(262), 16, 16), None);
        // No step is larger than that; and what is faster than can be believed is not believed.
        assert_eq!(train(micros(40), 1, 16), Some(TRAIN_GROWTH * INITIAL_WINDOW));
        assert_eq!(train(micros(20), 1, 16), Some(2 * INITIAL_WINDOW));
        assert_eq!(train(Duration::ZERO, 1, 16), None);
    }

    #[test]
    fn y_flow_8_a_late_reader_still_measures_the_link() {
        let (mut now, tick) = (Instant::now(), Duration::from_millis(1));
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        for _ in 0..4 {
            window.receive(INITIAL_WINDOW / 4, now, now).expect("credit");
            now += tick;
        }
        window.consume(INITIAL_WINDOW, now);
        // Three quarters of it have come in 4 ms since the first.
        let growth = window.growth(Some(100 * tick), u32::MAX, now);
        assert_eq!(growth, Some(2 * 25 * (INITIAL_WINDOW / 4 * 3) - INITIAL_WINDOW));
    }

    #[test]
    fn of_a_window_that_has_grown_whole_halves_are_returned() {
        const HALF: u32 = INITIAL_WINDOW;
        let now = Instant::now();
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        window.grow(INITIAL_WINDOW);
        // What it has grown by is announced whole, with what was read.
        window.receive(INITIAL_WINDOW, now, now).expect("credit");
        window.consume(1000, now);
        assert_eq!(window.grant(now), INITIAL_WINDOW + 1000);
        // By how much more than half is read at once.
        for beyond in [1, HALF / 2, HALF - 1] {
            window.receive(window.credit(), now, now).expect("credit");
            window.consume(HALF + beyond, now);
            assert_eq!((window.is_due(), window.grant(now), window.owed()), (true, HALF, beyond));
            // And the other half is one again.
            window.consume(HALF - beyond - 1, now);
            assert!(!window.is_due());
            window.consume(1, now);
            assert_eq!((window.is_due(), window.grant(now), window.owed()), (true, HALF, 0));
        }
        window.receive(window.credit(), now, now).expect("credit");
        window.consume(2 * HALF, now);
        assert_eq!(window.grant(now), 2 * HALF);
        // It grows again, by less than half of what it is then.
        window.grow(HALF);
        assert_eq!((window.grant(now), window.owed()), (HALF, 0));
    }

    #[test]
    fn of_the_first_window_all_that_is_owed_is_returned() {
        let now = Instant::now();
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        window.receive(INITIAL_WINDOW, now, now).expect("credit");
        window.consume(INITIAL_WINDOW / 2 + 1, now);
        assert_eq!(window.grant(now), INITIAL_WINDOW / 2 + 1);
    }

    /// A window of which half was read and given back, with so much credit left, and what comes so long after that and after
    /// the last data.
    fn wait(left: u32, after: Duration, quiet: Duration) -> Option<Duration> {
        let now = Instant::now();
        let mut window = ReceiveWindow::new(INITIAL_WINDOW);
        window.receive(INITIAL_WINDOW / 2, now, now).expect("credit");
        window.consume(INITIAL_WINDOW / 2, now);
        assert_eq!(window.grant(now), INITIAL_WINDOW / 2);
        window.receive(INITIAL_WINDOW / 2 - left, now, now).expect("credit");
        assert_eq!(window.take_wait(), None);
        let later = now + after;
        window.receive(left + 1, later.checked_sub(quiet).unwrap_or(now), later).expect("credit");
        let waited = window.take_wait();
        window.receive(1, now, later + after).expect("credit");
        assert_eq!((window.take_wait(), window.take_wait()), (None, None), "told once");
        waited
    }

    #[test]
    fn y_flow_12_silence_after_used_up_credit_is_a_wait() {
        let millis = Duration::from_millis;
        assert_eq!(wait(0, millis(80), millis(80)), Some(millis(80)));
        assert_eq!(wait(CREDIT_LEFT, millis(80), millis(20)), Some(millis(80)));
        // It had credit left, or the connection was not silent.
        assert_eq!(wait(CREDIT_LEFT + 1, millis(80), millis(80)), None);
        assert_eq!(wait(0, millis(80), millis(19)), None);
    }
}
