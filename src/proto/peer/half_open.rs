//! Owns [`HalfOpen`]: streams that the application has finished and dropped while the peer may still send, like orphaned
//! TCP sockets in FIN_WAIT_2. They stay until the peer ends its half, or is owed a reset because no application reads.
//!
//! Frames of the peer on such a stream are discarded without an answer. The peer may be answering a request that was
//! sent before this end finished, and a reset would destroy data that the peer has not read yet. But a peer that has
//! used up its credit and has more to send would wait for ever. So it gets some time to read what it was sent, and then
//! one reset (Y-DROP-2 to Y-DROP-5). It prevents loss on any link: peers lost data in 3 to 6 of 10 resets that came 15 µs
//! behind a FIN (`HALF_OPEN_GRACE`).

use crate::counting::{count_down, count_up};
use crate::proto::limits::{HALF_OPEN, HALF_OPEN_CREDIT, HALF_OPEN_GRACE, UNACKNOWLEDGED_TIME};
use crate::proto::peer::tombstones::Tombstone;
use crate::proto::store::id_hash::{IdHash, shrink_sparse};
use crate::wire::StreamId;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use web_time::Instant;

/// Resolution of deadlines, in milliseconds: a thirtieth of `HALF_OPEN_GRACE`. Counted in these, four bytes last for 13
/// years.
const TICK_MS: u32 = 100;
const TICK: Duration = Duration::from_millis(TICK_MS as u64);

/// Streams that are evicted at once when there are too many. Finding the oldest looks at all of them, so an eighth at
/// once costs eight looks a stream.
const EVICTED: usize = HALF_OPEN / 8;

/// At most [`HALF_OPEN`] streams.
#[derive(Debug)]
pub(in crate::proto) struct HalfOpen {
    entries: HashMap<StreamId, Entry, IdHash>,
    /// Streams whose peers are owed a reset, in the order in which the resets became due.
    owed: VecDeque<StreamId>,
    /// The number of the next one.
    next: u32,
    /// The time from which deadlines are counted.
    since: Instant,
    /// A lower bound of all deadlines, in ticks.
    due: u32,
    /// Evicted streams whose peers were not reset: they get a reset when they send.
    forgotten: u32,
    /// Streams of this end that the peer has not acknowledged.
    unacknowledged: u32,
    /// Until when these keep their places in the backlog, in ticks, unless the peer acknowledges one before.
    places_until: u32,
}

/// A stream whose peer has not ended it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tombstone: Tombstone,
    /// Sequence number, by age.
    number: u32,
    /// The deadline of a peer without credit, in ticks; `NEVER` while it has credit, and `ARRIVING` while a body of it
    /// arrives.
    until: u32,
}

/// Values of `until` that no deadline reaches: their ticks are 13 years.
const NEVER: u32 = u32::MAX;
const ARRIVING: u32 = NEVER - 1;

impl HalfOpen {
    pub(in crate::proto) fn new(id_hash: IdHash, now: Instant) -> Self {
        let entries = HashMap::with_hasher(id_hash);
        Self {
            entries,
            owed: VecDeque::new(),
            next: 0,
            since: now,
            due: NEVER,
            forgotten: 0,
            unacknowledged: 0,
            places_until: NEVER,
        }
    }

    /// Adds a stream. The rest of its last body may still be arriving; [`arrived`](Self::arrived) reports its end.
    pub(in crate::proto) fn insert(&mut self, id: StreamId, tombstone: Tombstone, arriving: bool, now: Instant) {
        if tombstone.is_unacknowledged() {
            self.unacknowledged = count_up(self.unacknowledged, 1);
            self.places_until = self.places_until.min(self.ticks_until(now, UNACKNOWLEDGED_TIME));
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.entries.insert(id, Entry { tombstone, number, until: ARRIVING });
        if !arriving {
            self.arrived(id, now);
        }
    }

    pub(in crate::proto) fn get_mut(&mut self, id: StreamId) -> Option<&mut Tombstone> {
        self.entries.get_mut(&id).map(|entry| &mut entry.tombstone)
    }

    /// How many places in the backlog half-open streams take that the peer has not acknowledged (Y-ACK-4).
    pub(in crate::proto) const fn unacknowledged(&self) -> usize {
        self.unacknowledged as usize
    }

    /// A frame of the peer has arrived for the stream; returns whether that frees a place in the backlog.
    pub(in crate::proto) fn acknowledged(&mut self, id: StreamId, now: Instant) -> bool {
        let freed = self.give_up_place(id);
        if freed && self.unacknowledged > 0 {
            self.places_until = self.ticks_until(now, UNACKNOWLEDGED_TIME);
        }
        freed
    }

    fn give_up_place(&mut self, id: StreamId) -> bool {
        let freed = self.entries.get_mut(&id).is_some_and(|entry| entry.tombstone.acknowledge());
        self.unacknowledged = count_down(self.unacknowledged, freed.into());
        if self.unacknowledged == 0 {
            self.places_until = NEVER;
        }
        freed
    }

    /// Frees all these places if the peer has acknowledged no stream for too long, as some peers never do (Y-ACK-4).
    /// Returns whether there were any.
    pub(in crate::proto) fn free_places(&mut self, now: Instant) -> bool {
        let over = self.instant(self.places_until).is_some_and(|until| now >= until);
        if over {
            self.entries.values_mut().for_each(|entry| {
                entry.tombstone.acknowledge();
            });
            (self.unacknowledged, self.places_until) = (0, NEVER);
        }
        over
    }

    /// A deadline so long after `now`.
    fn ticks_until(&self, now: Instant, time: Duration) -> u32 {
        let until = now.saturating_duration_since(self.since).saturating_add(time);
        u32::try_from(until.as_millis().div_ceil(u128::from(TICK_MS))).unwrap_or(NEVER)
    }

    /// When a deadline is.
    fn instant(&self, until: u32) -> Option<Instant> {
        Some(until).filter(|until| *until != NEVER).and_then(|until| self.since.checked_add(TICK.saturating_mul(until)))
    }

    /// A body begins to arrive: the peer does not wait for credit.
    pub(in crate::proto) fn arrives(&mut self, id: StreamId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.until = ARRIVING;
        }
    }

    /// A body has arrived completely. If the credit is used up now, the peer's deadline starts (Y-DROP-3).
    pub(in crate::proto) fn arrived(&mut self, id: StreamId, now: Instant) {
        let until = self.ticks_until(now, HALF_OPEN_GRACE);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.until = NEVER;
        if entry.tombstone.credit() >= HALF_OPEN_CREDIT {
            return;
        }
        entry.until = until;
        self.due = self.due.min(entry.until);
    }

    /// The peer has ended its half, or the id is opened again: returns the tombstone of the stream.
    pub(in crate::proto) fn remove(&mut self, id: StreamId) -> Option<Tombstone> {
        self.give_up_place(id);
        let entry = self.entries.remove(&id)?;
        shrink_sparse(&mut self.entries);
        if self.entries.is_empty() {
            self.due = NEVER;
        }
        Some(entry.tombstone)
    }

    /// A reset is not owed for this id any more.
    pub(in crate::proto) fn cancel_reset(&mut self, id: StreamId) {
        self.owed.retain(|owed| *owed != id);
    }

    /// When [`expired`](Self::expired) or [`free_places`](Self::free_places) has work to do.
    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        self.instant(self.due.min(self.places_until))
    }

    /// Removes the streams whose deadline has passed: a reset is owed for each.
    pub(in crate::proto) fn expired(&mut self, now: Instant) -> Vec<(StreamId, Tombstone)> {
        if self.instant(self.due).is_none_or(|due| now < due) {
            return Vec::new();
        }
        let passed = now.saturating_duration_since(self.since);
        let over = |entry: &Entry| entry.until < ARRIVING && TICK.saturating_mul(entry.until) <= passed;
        let expired = self.entries.extract_if(|_, entry| over(entry)).map(|(id, entry)| (id, entry.tombstone));
        let expired: Vec<_> = expired.collect();
        for (_, tombstone) in &expired {
            self.unacknowledged = count_down(self.unacknowledged, tombstone.is_unacknowledged().into());
        }
        if self.unacknowledged == 0 {
            self.places_until = NEVER;
        }
        let next = self.entries.values().map(|entry| entry.until).filter(|until| *until < ARRIVING).min();
        self.due = next.unwrap_or(NEVER);
        self.owed.extend(expired.iter().map(|(id, _)| *id));
        expired
    }

    /// Evicts streams where there are too many, the oldest first (Y-DROP-4). Returns how many were forgotten because
    /// their peers have credit, and those whose peers may have none: these are evicted last, and a reset is owed for
    /// each.
    pub(in crate::proto) fn evicted(&mut self) -> (u32, Vec<(StreamId, Tombstone)>) {
        if self.entries.len() <= HALF_OPEN {
            return (0, Vec::new());
        }
        let age = |entry: &Entry| self.next.wrapping_sub(entry.number);
        let place = |entry: &Entry| (entry.until != NEVER, entry.until == ARRIVING, u32::MAX.wrapping_sub(age(entry)));
        let mut places: Vec<_> = self.entries.iter().map(|(id, entry)| (place(entry), *id)).collect();
        places.select_nth_unstable(EVICTED);
        places.truncate(EVICTED);
        // In the order of arrival.
        places.sort_unstable();
        let (mut forgotten, mut reset) = (0_u32, Vec::new());
        for ((may_wait, ..), id) in places {
            self.give_up_place(id);
            match self.entries.remove(&id) {
                Some(entry) if may_wait => reset.push((id, entry.tombstone)),
                _ => forgotten = count_up(forgotten, 1),
            }
        }
        self.forgotten = self.forgotten.saturating_add(forgotten);
        self.owed.extend(reset.iter().map(|(id, _)| *id));
        (forgotten, reset)
    }

    /// Data has arrived for an unknown stream: returns whether it counts as an evicted one, whose peer is then owed a
    /// reset. The resets owed at a time are bounded by the number of half-open streams.
    pub(in crate::proto) fn resets_forgotten(&mut self, id: StreamId) -> bool {
        let resets = self.forgotten > 0 && self.owed.len() < HALF_OPEN;
        if resets {
            self.forgotten = count_down(self.forgotten, 1);
            self.owed.push_back(id);
        }
        resets
    }

    /// The next stream that a reset is owed for.
    pub(in crate::proto) fn next_reset(&mut self) -> Option<StreamId> {
        let id = self.owed.pop_front()?;
        if self.owed.is_empty() {
            self.owed = VecDeque::new();
        }
        Some(id)
    }

    pub(in crate::proto) fn owes_resets(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Frees spare storage.
    pub(in crate::proto) fn release_if_idle(&mut self) {
        self.entries.shrink_to_fit();
        self.owed.shrink_to_fit();
    }

    pub(in crate::proto) fn clear(&mut self) {
        *self = Self::new(*self.entries.hasher(), self.since);
    }

    pub(in crate::proto) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> StreamId {
        StreamId::new(n as u32).expect("not zero")
    }

    fn owed(streams: &mut HalfOpen) -> Vec<usize> {
        std::iter::from_fn(|| streams.next_reset()).map(|id| id.value() as usize).collect()
    }

    #[test]
    fn y_drop_4_the_oldest_go_and_those_that_may_wait_are_reset() {
        let now = Instant::now();
        let mut streams = HalfOpen::new(IdHash::new(5), now);
        // The oldest one waits, and for the next a body is under way.
        streams.insert(id(1), Tombstone::new(0, 0), false, now);
        streams.insert(id(2), Tombstone::new(1 << 18, 0), true, now);
        for n in 3..=HALF_OPEN {
            streams.insert(id(n), Tombstone::new(1 << 18, 0), false, now);
        }
        assert!(matches!(streams.evicted(), (0, reset) if reset.is_empty()));
        streams.insert(id(HALF_OPEN + 1), Tombstone::new(1 << 18, 0), false, now);
        assert!(matches!(streams.evicted(), (forgotten, reset) if forgotten as usize == EVICTED && reset.is_empty()));
        assert!(streams.get_mut(id(EVICTED + 2)).is_none() && streams.get_mut(id(EVICTED + 3)).is_some());
        assert!(streams.get_mut(id(1)).is_some() && streams.get_mut(id(2)).is_some());
        // As many are reset later as were forgotten, and no more.
        let reset = (0..2 * EVICTED).filter(|n| streams.resets_forgotten(id(10_000 + n))).count();
        assert_eq!((reset, owed(&mut streams).len()), (EVICTED, EVICTED));
        // Where all of them wait they are reset, the oldest first.
        let mut streams = HalfOpen::new(IdHash::new(5), now);
        (1..=HALF_OPEN + 1).for_each(|n| streams.insert(id(n), Tombstone::new(0, 0), n == 1, now));
        let (forgotten, reset) = streams.evicted();
        let reset: Vec<_> = reset.into_iter().map(|(id, _)| id.value() as usize).collect();
        assert_eq!((forgotten, &reset), (0, &owed(&mut streams)));
        assert_eq!(reset, (2..EVICTED + 2).collect::<Vec<_>>());
    }

    #[test]
    fn y_drop_4_no_more_resets_are_owed_than_there_may_be_streams() {
        let now = Instant::now();
        let mut streams = HalfOpen::new(IdHash::new(5), now);
        streams.forgotten = u32::MAX;
        let reset = (1..=10 * HALF_OPEN).filter(|n| streams.resets_forgotten(id(*n))).count();
        assert_eq!(reset, HALF_OPEN);
    }

    /// As far as `tests/heap` counts it: with it the fixed sum of a connection is not passed.
    #[test]
    fn y_drop_4_all_of_them_take_little() {
        let now = Instant::now();
        let mut streams = HalfOpen::new(IdHash::new(5), now);
        for n in 1..=2 * HALF_OPEN {
            streams.insert(id(n), Tombstone::new(0, 0), false, now);
            streams.evicted();
        }
        assert!(streams.entries.len() <= HALF_OPEN && streams.entries.capacity() < 2048);
        // A table has a byte more for each place, and an eighth of them is empty.
        let bytes = 2048 * (size_of::<(StreamId, Entry)>() + 1);
        assert!(bytes <= 52 << 10, "{bytes}");
        streams.release_if_idle();
        assert!((1..=2 * HALF_OPEN).filter_map(|n| streams.remove(id(n))).count() <= HALF_OPEN);
        streams.release_if_idle();
        assert_eq!((streams.entries.capacity(), streams.poll_timeout()), (0, None));
    }

    #[test]
    fn y_drop_3_the_time_runs_only_while_a_peer_waits() {
        let start = Instant::now();
        let mut streams = HalfOpen::new(IdHash::new(5), start);
        let late = start + HALF_OPEN_GRACE * 100;
        for (n, credit, arriving) in [(1, HALF_OPEN_CREDIT, false), (2, 0, true), (3, 0, false), (4, 0, false)] {
            streams.insert(id(n), Tombstone::new(credit, 0), arriving, start);
        }
        assert_eq!(streams.poll_timeout(), Some(start + HALF_OPEN_GRACE));
        assert!(streams.expired(start + HALF_OPEN_GRACE - TICK).is_empty());
        // One of those whose time runs ends, and the other goes on for a moment.
        streams.remove(id(3));
        streams.arrives(id(4));
        assert!(streams.expired(start + HALF_OPEN_GRACE).is_empty() && streams.poll_timeout().is_none());
        streams.arrived(id(4), late);
        assert_eq!(streams.poll_timeout(), Some(late + HALF_OPEN_GRACE));
        let expired = streams.expired(late + HALF_OPEN_GRACE);
        assert_eq!((expired.len(), owed(&mut streams)), (1, vec![4]));
        assert!(streams.get_mut(id(1)).is_some() && streams.get_mut(id(2)).is_some());
    }
}
