//! Owns [`Pacer`]: how many bytes may be on their way while streams of several priorities are in use.
//!
//! Bytes that were handed to the transport cannot be overtaken: an urgent frame waits until the peer has read all bytes
//! before it, and the buffers of kernels and routers hold up to seconds of bulk. So the streams of lower buckets send no
//! more than keeps the path full, which is near its bandwidth-delay product. `delivery` measures the path with markers.
//! The highest bucket in use is never held back (Y-PRIO-5 to Y-PRIO-8).
//!
//! Measured on a path of 20 Mbit/s and 40 ms, beside 8 bulk streams: an urgent message takes 25 ms one way in place of 421,
//! and bulk keeps 99 % (docs/performance.md). Uses no stream, and sends nothing itself.

use super::delivery::{Answer, Delivery, Sample};
use super::schedule::Schedule;
use crate::priority::Priority;
use crate::proto::limits::{HELD_MOST, IN_USE};
use crate::stats::Pacing;
use std::time::Duration;
use web_time::Instant;

/// What may be on its way before anything is known of the path: two frames of the default size.
const FIRST: u64 = 32 * 1024;

/// The least that may be on its way, in bytes: four small frames, so that the slowest path is not left idle.
const LEAST: u64 = 6 * 1024;

/// Parts of what may be on its way that leave as one piece, with a marker behind each. Measured: with an eighth one stream kept
/// 84 % of its bulk, with a twelfth 99 %, and with a sixteenth messages wait a little less (docs/performance.md).
const PARTS: u64 = 16;

/// The least piece, in bytes: a smaller one is mostly header and marker.
const PIECE_LEAST: u64 = 1280;

/// The least room for which streams of lower buckets are asked, unless a piece is smaller: a frame of the default size.
const ROOM_LEAST: u64 = 16 * 1024;

/// What may be on its way, in percent of the bandwidth-delay product: while the bandwidth is searched for, when it was
/// found, while more is probed for, and while the queue drains so that the round trip shows. 250 lets the bandwidth more than
/// double in a round trip; 110 is a queue of a tenth of the round trip. Measured: without probing, two Swarms kept half of a
/// link (docs/performance.md).
const STARTUP: u64 = 250;
const STEADY: u64 = 110;
const PROBE: u64 = 150;
const DRAIN: u64 = 85;

/// How many times longer the pause between markers is where as many as may be are unanswered and none comes.
const MARKERS_PAUSE: u32 = 12;

/// From so many percent of the least round trip on, an answer has waited in a queue that should not be there: `STEADY` and a piece
/// make one of 17 %.
const STANDING: u32 = 150;

/// From this least round trip on, pieces are not doubled: one takes 1.4 ms at the bandwidth or longer, which is more
/// than peers take for a frame.
const NEAR: Duration = Duration::from_millis(20);

/// How often pieces are doubled at most, which makes 16 KiB of the least, and after how many probes in vain once less. Measured without:
/// a peer that takes 50 us for a frame read 10 % of the bulk that it reads unpaced, with a round trip of 1 ms, and 74 % with
/// (`y_prio_5_a_peer_that_is_slow_for_each_frame_does_not_starve_bulk`).
const DOUBLINGS: u32 = 4;
const IN_VAIN: u8 = 8;

/// Answers in a row that have to bring less than a quarter more bandwidth until it counts as found.
const FULL_AFTER: u8 = 12;

/// Paces the streams of lower buckets.
#[derive(Debug)]
pub(in crate::proto) struct Pacer {
    /// How long streams of lower buckets have been held back, in nanoseconds: idle connections pay for it.
    held: u64,
    /// In a box, since few connections use several priorities.
    state: Option<Box<State>>,
}

#[derive(Debug)]
struct State {
    delivery: Delivery,
    /// When bytes of each bucket last left or arrived.
    used_at: [Option<Instant>; Priority::BUCKETS],
    /// The bucket that is not held back, while lower ones are.
    top: Option<usize>,
    phase: Phase,
    /// The largest bandwidth at the start of the last rounds without much growth, and their number.
    base: u64,
    flat: u8,
    queue: Queue,
    /// How often pieces are doubled, and how many times probing has found nothing since.
    coarse: u32,
    in_vain: u8,
    /// Since when streams of lower buckets are held back without a pause, and without an answer.
    held_since: Option<Instant>,
    heard_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is known of what is on its way: markers have only begun to leave.
    Unknown,
    Startup,
    Steady,
    /// Until a marker is answered that left then or later, from this bandwidth on.
    Probe(Instant, u64),
    /// Until then.
    Drain(Instant),
    /// The peer has not answered for a while: nobody is held back until it does.
    Silent,
}

/// What answers say of a queue on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// An answer has come nearly as fast as the fastest.
    None,
    /// None since then.
    Since(Instant),
    /// The bandwidth was lowered for it.
    Known,
}

/// What streams of lower buckets may send.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Limit {
    /// The least bucket that is not held back.
    pub(in crate::proto) top: usize,
    /// Bytes that lower buckets may send now.
    pub(in crate::proto) room: usize,
    /// The largest piece that leaves at a time, in bytes.
    pub(in crate::proto) piece: usize,
}

impl Pacer {
    pub(in crate::proto) const fn new() -> Self {
        Self { held: 0, state: None }
    }

    /// Whether streams of several priorities were in use lately. Where this is false, nothing else needs to be asked.
    pub(in crate::proto) const fn is_used(&self) -> bool {
        self.state.is_some()
    }

    /// Looks at what is in use at `now`. `open` says which buckets have open streams, and `answers` whether the peer has
    /// answered any ping.
    pub(in crate::proto) fn update(&mut self, open: [bool; Priority::BUCKETS], answers: bool, now: Instant) {
        let Some(state) = &mut self.state else { return };
        let used = |bucket: &usize| {
            let at = state.used_at.get(*bucket).copied().flatten();
            at.is_some_and(|at| now.saturating_duration_since(at) < IN_USE)
        };
        let is_open = |bucket: &usize| open.get(*bucket).copied().unwrap_or_default();
        let top = (0..Priority::BUCKETS).rev().find(|bucket| is_open(bucket) && used(bucket));
        // Y-PRIO-7.
        let top = top.filter(|top| answers && (0..*top).any(|bucket| is_open(&bucket)));
        if state.top.is_none() && top.is_some() {
            state.delivery.restart(now);
            (state.phase, state.heard_at) = (Phase::Unknown, now);
        }
        state.top = top;
        if top.is_none() {
            self.release(now);
        }
    }

    /// The bucket that is not held back, while lower ones are.
    pub(in crate::proto) fn top(&self) -> Option<usize> {
        self.state.as_deref()?.top
    }

    /// Bytes of a stream of this bucket have arrived. `is_lowest` says whether there is none that it could precede.
    pub(in crate::proto) fn arrived(&mut self, bucket: usize, is_lowest: impl FnOnce() -> bool, now: Instant) {
        if self.state.is_none() && is_lowest() {
            return;
        }
        let state = self.state.get_or_insert_with(|| Box::new(State::new(now)));
        state.used(bucket, now);
    }

    /// Bytes of a stream of this bucket were encoded. `is_lowest` says whether there is none that it could precede.
    pub(in crate::proto) fn sent(
        &mut self,
        bucket: usize,
        bytes: usize,
        is_lowest: impl FnOnce() -> bool,
        now: Instant,
    ) {
        if self.state.is_none() && is_lowest() {
            return;
        }
        let state = self.state.get_or_insert_with(|| Box::new(State::new(now)));
        state.delivery.sent(bytes as u64, now);
        state.used(bucket, now);
    }

    /// Whether a marker has to leave now.
    pub(in crate::proto) fn wants_marker(&self, schedule: &Schedule, now: Instant) -> bool {
        let Some((state, top)) = self.state.as_deref().and_then(|state| Some((state, state.top?))) else {
            return false;
        };
        let delivery = &state.delivery;
        match state.phase {
            Phase::Unknown if delivery.asks_anew() => true,
            Phase::Silent => {
                // Answers that never come must not end it for ever.
                let pause = if delivery.has_room() { HELD_MOST } else { HELD_MOST.saturating_mul(MARKERS_PAUSE) };
                delivery.last_marker_at().is_none_or(|last| now.saturating_duration_since(last) >= pause)
            }
            _ if !delivery.has_room() || delivery.unmarked() == 0 => false,
            _ => {
                delivery.unmarked() >= state.piece()
                    || (delivery.waiting_since().is_none() && schedule.waits_below(top))
            }
        }
    }

    /// A marker was encoded.
    pub(in crate::proto) fn marked(&mut self, nonce: u32, now: Instant) {
        if let Some(state) = &mut self.state {
            state.delivery.marked(nonce, now);
        }
    }

    /// A pong has arrived.
    pub(in crate::proto) fn answered(&mut self, nonce: u32, now: Instant) -> Answer {
        let Some(state) = self.state.as_deref_mut() else { return Answer::NoMarker };
        let answer = state.delivery.answered(nonce, now);
        if let Answer::Sample(sample) = answer {
            state.learn(sample, now);
        }
        answer
    }

    /// The limit of lower buckets, while they are paced.
    pub(in crate::proto) fn limit(&self, now: Instant) -> Option<Limit> {
        let state = self.state.as_deref()?;
        let top = state.top.filter(|_| state.phase != Phase::Silent)?;
        let (room, piece) = (state.most().saturating_sub(state.delivery.likely_on_the_way(now)), state.piece());
        let room = if room < state.room_least() { 0 } else { room };
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Some(Limit { top, room: size(room), piece: size(piece) })
    }

    /// All that may leave has been encoded.
    pub(in crate::proto) fn encoded(&mut self, schedule: &Schedule, now: Instant) {
        let limit = self.limit(now);
        let Some(state) = &mut self.state else { return };
        let Some(top) = state.top else { return };
        let waiting = schedule.waits_below(top);
        let held = waiting && limit.is_some_and(|limit| limit.room == 0);
        let is_full = state.delivery.product().is_some_and(|product| state.delivery.on_the_way() >= product);
        if !waiting && !is_full {
            state.delivery.limited();
        }
        match held {
            true => state.held_since = state.held_since.or(Some(now)),
            false => self.release(now),
        }
    }

    /// The bucket below which streams are held back at the moment.
    pub(in crate::proto) fn holds_below(&self) -> Option<usize> {
        let state = self.state.as_deref()?;
        state.held_since.and(state.top)
    }

    /// When streams that are held back go on without an answer.
    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        let state = self.state.as_deref().filter(|state| state.top.is_some() && state.held_since.is_some())?;
        state.room_at().into_iter().chain(state.unanswered_at()).min()
    }

    /// Returns whether streams that are held back may go on.
    pub(in crate::proto) fn handle_timeout(&mut self, now: Instant) -> bool {
        let due = self.poll_timeout().is_some_and(|at| now >= at);
        if let Some(state) = self.state.as_deref_mut().filter(|_| due) {
            if state.unanswered_at().is_some_and(|at| now >= at) {
                state.phase = Phase::Silent;
            }
            // Until frames are encoded again: a full transport must not make this timer fire without end.
            self.release(now);
        }
        due
    }

    /// No byte has crossed for a while. What is known stays while streams are held back, or several priorities are in use:
    /// an urgent stream that pauses is urgent all the same.
    pub(in crate::proto) fn release_if_idle(&mut self) {
        match self.state.as_deref_mut() {
            Some(state) if state.top.is_some() => state.delivery.shrink(),
            _ => self.state = None,
        }
    }

    pub(in crate::proto) fn figures(&self, now: Instant) -> Pacing {
        let Some(state) = self.state.as_deref() else {
            return Pacing { held: Duration::from_nanos(self.held), ..Pacing::default() };
        };
        let since = state.held_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Pacing {
            bandwidth: state.delivery.bandwidth(),
            round_trip: state.delivery.round_trip(),
            in_flight: state.top.map_or(0, |_| state.delivery.on_the_way()),
            held: Duration::from_nanos(self.held).saturating_add(since),
        }
    }

    /// Nobody is held back any more, for the moment.
    fn release(&mut self, now: Instant) {
        if let Some(since) = self.state.as_mut().and_then(|state| state.held_since.take()) {
            let nanos = now.saturating_duration_since(since).as_nanos();
            self.held = self.held.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
    }
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            delivery: Delivery::new(now),
            used_at: [None; Priority::BUCKETS],
            top: None,
            phase: Phase::Unknown,
            base: 0,
            flat: 0,
            queue: Queue::None,
            coarse: 0,
            in_vain: 0,
            held_since: None,
            heard_at: now,
        }
    }

    fn used(&mut self, bucket: usize, now: Instant) {
        if let Some(used_at) = self.used_at.get_mut(bucket) {
            *used_at = Some(now);
        }
    }

    /// Bytes that may be on their way. Up to a piece is there without an answer that says so, since markers leave behind
    /// whole pieces.
    fn most(&self) -> u64 {
        self.share().saturating_add(self.piece())
    }

    /// The bytes that the phase allows, of the bandwidth-delay product.
    fn share(&self) -> u64 {
        let gain = match self.phase {
            Phase::Unknown | Phase::Silent => return FIRST,
            Phase::Startup => STARTUP,
            Phase::Steady => STEADY,
            Phase::Probe(..) => PROBE,
            Phase::Drain(_) => DRAIN,
        };
        self.delivery.product().map_or(FIRST, |product| product.saturating_mul(gain) / 100).max(LEAST)
    }

    /// The largest piece, which is larger where that has brought more bandwidth: some peers are slow for each frame.
    fn piece(&self) -> u64 {
        let piece = (self.share() / PARTS).max(PIECE_LEAST);
        if self.delivery.round_trip().is_none_or(|round_trip| round_trip >= NEAR) {
            return piece;
        }
        let doublings = self.coarse.saturating_add(u32::from(matches!(self.phase, Phase::Startup | Phase::Probe(..))));
        piece.max(piece.saturating_mul(2_u64.saturating_pow(doublings)).min(ROOM_LEAST))
    }

    /// The least room for which streams are asked. Less would be mostly headers.
    fn room_least(&self) -> u64 {
        self.piece().min(ROOM_LEAST)
    }

    /// When there is room again, as far as that can be assumed without an answer.
    fn room_at(&self) -> Option<Instant> {
        self.delivery.likely_at(self.most().saturating_sub(self.room_least()))
    }

    fn learn(&mut self, sample: Sample, now: Instant) {
        self.heard_at = now;
        if matches!(self.phase, Phase::Unknown | Phase::Silent) {
            (self.phase, self.base, self.flat) = (Phase::Startup, 0, 0);
        }
        let bandwidth = self.delivery.bandwidth().unwrap_or_default();
        match self.phase {
            Phase::Startup if bandwidth.saturating_mul(4) >= self.base.saturating_mul(5) => {
                (self.base, self.flat) = (bandwidth, 0);
            }
            // A stream that sends all that its peer's window allows fills the path if that makes a queue.
            Phase::Startup if sample.limited && !self.queues(sample) => {}
            Phase::Startup => {
                self.flat = self.flat.saturating_add(1);
                if self.flat >= FULL_AFTER {
                    self.drain(now);
                }
            }
            // Answers that always take a little longer than the least round trip hide that there is more.
            Phase::Steady if sample.new_period => {
                if self.delivery.falls_short() {
                    self.enlarge_pieces();
                }
                self.probe(now);
            }
            Phase::Steady => {
                if self.stands(sample, now) {
                    self.delivery.lower_bandwidth();
                }
            }
            Phase::Probe(from, before) if sample.sent_at >= from => {
                let found = bandwidth.saturating_mul(10) >= before.saturating_mul(11);
                self.found(found);
                if found { self.probe(now) } else { self.drain(now) }
            }
            Phase::Drain(until) if now >= until => self.phase = Phase::Steady,
            Phase::Unknown | Phase::Silent | Phase::Probe(..) | Phase::Drain(_) => {}
        }
    }

    /// Whether a sample has waited in a queue.
    fn queues(&self, sample: Sample) -> bool {
        let least = self.delivery.round_trip().unwrap_or_default();
        sample.round_trip.saturating_mul(4) > least.saturating_mul(5)
    }

    /// Whether all answers of a round trip have waited in a queue, for the first time since one has not: the path was
    /// never idle, so it has no more bandwidth than what was delivered. Where the queue stays, it is not of our making.
    fn stands(&mut self, sample: Sample, now: Instant) -> bool {
        let least = self.delivery.round_trip().unwrap_or_default();
        if sample.round_trip.saturating_mul(100) < least.saturating_mul(STANDING) {
            self.queue = Queue::None;
            return false;
        }
        match self.queue {
            Queue::None => self.queue = Queue::Since(now),
            Queue::Since(since) if now.saturating_duration_since(since) >= sample.round_trip => {
                self.queue = Queue::Known;
                return true;
            }
            Queue::Since(_) | Queue::Known => {}
        }
        false
    }

    /// Whether probing, for which pieces are twice as large, has found more bandwidth.
    fn found(&mut self, found: bool) {
        if found {
            return self.enlarge_pieces();
        }
        self.in_vain = self.in_vain.saturating_add(1);
        if self.in_vain >= IN_VAIN {
            (self.coarse, self.in_vain) = (self.coarse.saturating_sub(1), 0);
        }
    }

    fn enlarge_pieces(&mut self) {
        (self.coarse, self.in_vain) = (self.coarse.saturating_add(1).min(DOUBLINGS), 0);
    }

    fn probe(&mut self, now: Instant) {
        self.phase = Phase::Probe(self.in_round_trips(1, now), self.delivery.bandwidth().unwrap_or_default());
    }

    fn drain(&mut self, now: Instant) {
        self.phase = Phase::Drain(self.in_round_trips(2, now));
    }

    fn in_round_trips(&self, number: u32, now: Instant) -> Instant {
        let time = self.delivery.round_trip().unwrap_or_default().saturating_mul(number);
        now.checked_add(time).unwrap_or(now)
    }

    /// When the peer has not answered for too long.
    fn unanswered_at(&self) -> Option<Instant> {
        let since = self.delivery.waiting_since()?.max(self.heard_at);
        since.checked_add(HELD_MOST)
    }
}
