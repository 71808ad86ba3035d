//! Owns [`HalfOpen`]: streams that have ended here while the peer's half was open, until that ends too or the peer has to
//! be told that nobody reads.
//!
//! What the peer sends on such a stream is discarded, and is no reason to answer: it may be what it was asked for before this
//! end let go, and a reset would take from it what it has not read yet. Only where its credit is used up would a peer that
//! has more to say wait for ever. It is left some time to read what was sent to it, and then told with a reset, once
//! (Y-DROP-2 to Y-DROP-5).

use crate::proto::limits::{HALF_OPEN, HALF_OPEN_CREDIT, HALF_OPEN_GRACE, UNACKNOWLEDGED_TIME};
use crate::proto::peer::tombstones::Tombstone;
use crate::proto::store::id_hash::{IdHash, shrink_sparse};
use crate::wire::StreamId;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use web_time::Instant;

/// How exact deadlines are, in milliseconds. They are counted in these, so that four bytes last for years.
const TICK_MS: u32 = 100;
const TICK: Duration = Duration::from_millis(TICK_MS as u64);

/// Streams that go at once where there are too many: to find the oldest takes a look at all of them.
const EVICTED: usize = HALF_OPEN / 8;

/// At most [`HALF_OPEN`] streams.
#[derive(Debug)]
pub(in crate::proto) struct HalfOpen {
    entries: HashMap<StreamId, Entry, IdHash>,
    /// Streams whose peers are to be told, in the order in which that was found out.
    owed: VecDeque<StreamId>,
    /// The number of the next one.
    next: u32,
    /// What deadlines are counted from.
    since: Instant,
    /// No deadline is earlier, in ticks.
    due: u32,
    /// Streams that were forgotten and whose peers have not been told: they are when they write.
    forgotten: u32,
    /// Streams of this end's that the peer has not acknowledged.
    unacknowledged: u32,
    /// Until when they keep their places, in ticks, unless the peer acknowledges one before.
    places_until: u32,
}

/// A stream whose peer has not ended it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tombstone: Tombstone,
    /// They are numbered as they come.
    number: u32,
    /// Until when a peer may wait that has no credit, in ticks since the first; `NEVER` while it has some, and `ARRIVING`
    /// while it is using it.
    until: u32,
}

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

    /// Adds a stream; a part of its last body may be still to come, which is reported when it is there
    /// ([`arrived`](Self::arrived)).
    pub(in crate::proto) fn insert(&mut self, id: StreamId, tombstone: Tombstone, arriving: bool, now: Instant) {
        if tombstone.is_unacknowledged() {
            self.unacknowledged = self.unacknowledged.saturating_add(1);
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

    /// How many of the places for streams that the peer has not acknowledged are taken (Y-ACK-4).
    pub(in crate::proto) const fn unacknowledged(&self) -> usize {
        self.unacknowledged as usize
    }

    /// A frame of the peer has come for the stream; says whether that frees a place.
    pub(in crate::proto) fn acknowledged(&mut self, id: StreamId, now: Instant) -> bool {
        let freed = self.give_up_place(id);
        if freed && self.unacknowledged > 0 {
            self.places_until = self.ticks_until(now, UNACKNOWLEDGED_TIME);
        }
        freed
    }

    fn give_up_place(&mut self, id: StreamId) -> bool {
        let freed = self.entries.get_mut(&id).is_some_and(|entry| entry.tombstone.acknowledge());
        self.unacknowledged = self.unacknowledged.saturating_sub(freed.into());
        if self.unacknowledged == 0 {
            self.places_until = NEVER;
        }
        freed
    }

    /// Frees all the places where the peer has acknowledged none for too long: there are peers that never do (Y-ACK-4). Says
    /// whether there were any.
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

    /// A body begins to arrive: its peer is not waiting.
    pub(in crate::proto) fn arrives(&mut self, id: StreamId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.until = ARRIVING;
        }
    }

    /// A body has arrived. If the credit is used up now, the time runs for its peer (Y-DROP-3).
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

    /// The peer has ended its half, or the id is being opened anew: what is left to remember of the stream.
    pub(in crate::proto) fn remove(&mut self, id: StreamId) -> Option<Tombstone> {
        self.give_up_place(id);
        let entry = self.entries.remove(&id)?;
        shrink_sparse(&mut self.entries);
        if self.entries.is_empty() {
            self.due = NEVER;
        }
        Some(entry.tombstone)
    }

    /// A reset that is owed for this id is none any more.
    pub(in crate::proto) fn forgive(&mut self, id: StreamId) {
        self.owed.retain(|owed| *owed != id);
    }

    /// When [`expired`](Self::expired) or [`free_places`](Self::free_places) has something to say.
    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        self.instant(self.due.min(self.places_until))
    }

    /// Takes those out whose peers have waited for long enough: a reset is owed for each.
    pub(in crate::proto) fn expired(&mut self, now: Instant) -> Vec<(StreamId, Tombstone)> {
        if self.instant(self.due).is_none_or(|due| now < due) {
            return Vec::new();
        }
        let passed = now.saturating_duration_since(self.since);
        let over = |entry: &Entry| entry.until < ARRIVING && TICK.saturating_mul(entry.until) <= passed;
        let expired = self.entries.extract_if(|_, entry| over(entry)).map(|(id, entry)| (id, entry.tombstone));
        let expired: Vec<_> = expired.collect();
        for (_, tombstone) in &expired {
            self.unacknowledged = self.unacknowledged.saturating_sub(tombstone.is_unacknowledged().into());
        }
        if self.unacknowledged == 0 {
            self.places_until = NEVER;
        }
        let next = self.entries.values().map(|entry| entry.until).filter(|until| *until < ARRIVING).min();
        self.due = next.unwrap_or(NEVER);
        self.owed.extend(expired.iter().map(|(id, _)| *id));
        expired
    }

    /// Takes some out where there are too many, the oldest first (Y-DROP-4): how many were forgotten because their peers have
    /// credit, and those whose peers may be out of it, to whom a reset is owed. They are the last to go.
    pub(in crate::proto) fn evicted(&mut self) -> (u32, Vec<(StreamId, Tombstone)>) {
        if self.entries.len() <= HALF_OPEN {
            return (0, Vec::new());
        }
        let age = |entry: &Entry| self.next.wrapping_sub(entry.number);
        let place = |entry: &Entry| (entry.until != NEVER, entry.until == ARRIVING, u32::MAX.wrapping_sub(age(entry)));
        let mut places: Vec<_> = self.entries.iter().map(|(id, entry)| (place(entry), *id)).collect();
        places.select_nth_unstable(EVICTED);
        places.truncate(EVICTED);
        // In the order in which they came.
        places.sort_unstable();
        let (mut forgotten, mut told) = (0_u32, Vec::new());
        for ((may_wait, ..), id) in places {
            self.give_up_place(id);
            match self.entries.remove(&id) {
                Some(entry) if may_wait => told.push((id, entry.tombstone)),
                _ => forgotten = forgotten.saturating_add(1),
            }
        }
        self.forgotten = self.forgotten.saturating_add(forgotten);
        self.owed.extend(told.iter().map(|(id, _)| *id));
        (forgotten, told)
    }

    /// Data has come for a stream that nothing is known of: says whether it is taken for one that was forgotten, to whose
    /// peer a reset is owed then. No more are owed at a time than there may be streams.
    pub(in crate::proto) fn tells_forgotten(&mut self, id: StreamId) -> bool {
        let tells = self.forgotten > 0 && self.owed.len() < HALF_OPEN;
        if tells {
            self.forgotten = self.forgotten.saturating_sub(1);
            self.owed.push_back(id);
        }
        tells
    }

    /// The next stream whose peer is to be told.
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

    /// Gives back what holds nothing.
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
    fn y_drop_4_the_oldest_go_and_those_that_may_wait_are_told() {
        let now = Instant::now();
        let mut streams = HalfOpen::new(IdHash::new(5), now);
        // The oldest one waits, and for the next a body is under way.
        streams.insert(id(1), Tombstone::new(0, 0), false, now);
        streams.insert(id(2), Tombstone::new(1 << 18, 0), true, now);
        for n in 3..=HALF_OPEN {
            streams.insert(id(n), Tombstone::new(1 << 18, 0), false, now);
        }
        assert!(matches!(streams.evicted(), (0, told) if told.is_empty()));
        streams.insert(id(HALF_OPEN + 1), Tombstone::new(1 << 18, 0), false, now);
        assert!(matches!(streams.evicted(), (forgotten, told) if forgotten as usize == EVICTED && told.is_empty()));
        assert!(streams.get_mut(id(EVICTED + 2)).is_none() && streams.get_mut(id(EVICTED + 3)).is_some());
        assert!(streams.get_mut(id(1)).is_some() && streams.get_mut(id(2)).is_some());
        // As many are told later as were forgotten, and no more.
        let told = (0..2 * EVICTED).filter(|n| streams.tells_forgotten(id(10_000 + n))).count();
        assert_eq!((told, owed(&mut streams).len()), (EVICTED, EVICTED));
        // Where all of them wait they are told, the oldest first.
        let mut streams = HalfOpen::new(IdHash::new(5), now);
        (1..=HALF_OPEN + 1).for_each(|n| streams.insert(id(n), Tombstone::new(0, 0), n == 1, now));
        let (forgotten, told) = streams.evicted();
        let told: Vec<_> = told.into_iter().map(|(id, _)| id.value() as usize).collect();
        assert_eq!((forgotten, &told), (0, &owed(&mut streams)));
        assert_eq!(told, (2..EVICTED + 2).collect::<Vec<_>>());
    }

    #[test]
    fn y_drop_4_no_more_resets_are_owed_than_there_may_be_streams() {
        let now = Instant::now();
        let mut streams = HalfOpen::new(IdHash::new(5), now);
        streams.forgotten = u32::MAX;
        let told = (1..=10 * HALF_OPEN).filter(|n| streams.tells_forgotten(id(*n))).count();
        assert_eq!(told, HALF_OPEN);
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
