//! Owns [`Store`]: where the streams are, by key and by id, and the queues threaded through them.
//!
//! A [`Key`] is generational: one that outlives its stream finds nothing, never another stream. Ids are a peer's to
//! choose, so they are spread by a random odd factor before they are looked up: no choice of ids makes the map slow.

use super::stream::Stream;
use crate::wire::StreamId;
use nohash_hasher::IntMap;
use slotmap::{SlotMap, new_key_type};

new_key_type! {
    /// Names a stream for as long as it is in the store.
    pub(crate) struct Key;
}

/// Entries for which a book is not made smaller.
const SMALL: usize = 64;

/// Streams by key, and the ids of those whose wire life is not over.
#[derive(Debug)]
pub(super) struct Store {
    /// Boxed, since slots are never given back and streams are: what was many streams once is few bytes now.
    slots: SlotMap<Key, Box<Stream>>,
    ids: IntMap<u64, Key>,
    spread: Spread,
}

/// A bijection from ids to well-spread map keys that a peer cannot predict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread(u64);

impl Spread {
    pub(super) const fn new(random: u64) -> Self {
        Self(random | 1)
    }

    /// The middle bits of the product depend on all bits of the id; the rotation puts them where the map looks first.
    pub(super) fn of(self, id: StreamId) -> u64 {
        u64::from(id.value()).wrapping_mul(self.0).rotate_left(32)
    }
}

impl Store {
    pub(super) fn new(spread: Spread) -> Self {
        Self { slots: SlotMap::with_key(), ids: IntMap::default(), spread }
    }

    /// Adds a stream whose id is not in use.
    pub(super) fn insert(&mut self, stream: Stream) -> Key {
        let id = self.spread.of(stream.id);
        let key = self.slots.insert(Box::new(stream));
        let previous = self.ids.insert(id, key);
        debug_assert!(previous.is_none(), "two streams of one id");
        key
    }

    pub(super) fn find(&self, id: StreamId) -> Option<Key> {
        self.ids.get(&self.spread.of(id)).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.slots.get(key).map(|stream| &**stream)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key).map(|stream| &mut **stream)
    }

    /// Forgets the id: late frames find nothing. Says whether it was there.
    pub(super) fn unlink(&mut self, id: StreamId) -> bool {
        let known = self.ids.remove(&self.spread.of(id)).is_some();
        let len = self.ids.len();
        if self.ids.capacity() > SMALL.max(len.saturating_mul(8)) {
            self.ids.shrink_to(len.saturating_mul(2));
        }
        known
    }

    /// Removes a stream that was unlinked and is in no queue.
    pub(super) fn remove(&mut self, key: Key) -> Option<Stream> {
        self.slots.remove(key).map(|stream| *stream)
    }

    /// Streams whose wire life is not over.
    pub(super) fn live(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.slots.keys()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// A stream's place in one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    previous: Option<Key>,
    next: Option<Key>,
    queued: bool,
}

impl Links {
    pub(super) const fn is_queued(&self) -> bool {
        self.queued
    }
}

/// Which of a stream's links a queue uses.
pub(super) trait Place {
    fn of(stream: &mut Stream) -> &mut Links;
}

/// The queue of streams that owe control frames.
#[derive(Debug)]
pub(super) struct ControlPlace;

/// The queues of streams that have data or a FIN to send.
#[derive(Debug)]
pub(super) struct DataPlace;

/// The queues of writers that wait for room in the send buffers.
#[derive(Debug)]
pub(super) struct RoomPlace;

impl Place for ControlPlace {
    fn of(stream: &mut Stream) -> &mut Links {
        &mut stream.control_links
    }
}

impl Place for DataPlace {
    fn of(stream: &mut Stream) -> &mut Links {
        &mut stream.data_links
    }
}

impl Place for RoomPlace {
    fn of(stream: &mut Stream) -> &mut Links {
        &mut stream.room_links
    }
}

/// A first-in-first-out queue threaded through the streams. Pushing a stream that is queued does nothing.
#[derive(Debug)]
pub(super) struct Queue<P> {
    head: Option<Key>,
    tail: Option<Key>,
    place: std::marker::PhantomData<P>,
}

impl<P: Place> Queue<P> {
    pub(super) const fn new() -> Self {
        Self { head: None, tail: None, place: std::marker::PhantomData }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Puts a stream at the end; says whether it was not queued before.
    pub(super) fn push(&mut self, store: &mut Store, key: Key) -> bool {
        let Some(links) = store.get_mut(key).map(P::of).filter(|links| !links.queued) else {
            return false;
        };
        *links = Links { previous: self.tail, next: None, queued: true };
        match self.tail.replace(key).and_then(|tail| store.get_mut(tail)) {
            Some(tail) => P::of(tail).next = Some(key),
            None => self.head = Some(key),
        }
        true
    }

    pub(super) fn pop(&mut self, store: &mut Store) -> Option<Key> {
        let key = self.head?;
        self.remove(store, key);
        Some(key)
    }

    /// Takes a stream out, wherever it is; says whether it was queued. It must be queued here or nowhere.
    pub(super) fn remove(&mut self, store: &mut Store, key: Key) -> bool {
        let Some(links) = store.get_mut(key).map(P::of).filter(|links| links.queued) else {
            return false;
        };
        let Links { previous, next, .. } = std::mem::take(links);
        match previous.and_then(|key| store.get_mut(key)) {
            Some(stream) => P::of(stream).next = next,
            None => self.head = next,
        }
        match next.and_then(|key| store.get_mut(key)) {
            Some(stream) => P::of(stream).previous = previous,
            None => self.tail = previous,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::Handshake;
    use super::*;
    use crate::memory::{MemoryManager, Reservation, Unlimited};
    use crate::priority::Priority;
    use quickcheck::quickcheck;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::{HashSet, VecDeque};
    use std::sync::Arc;

    fn stream(id: u32) -> Stream {
        let manager: Arc<dyn MemoryManager> = Arc::new(Unlimited);
        let reservation = Reservation::new(&manager, 1, Priority::ALWAYS).expect("unlimited");
        Stream::new(StreamId::new(id).expect("not zero"), Handshake::Done, Priority::MEDIUM, 0, reservation)
    }

    quickcheck! {
        /// The queue against a plain deque: any mix of push, pop and removal in the middle.
        fn queue_is_a_deque_without_duplicates(steps: Vec<(u8, u8)>) -> bool {
            let mut store = Store::new(Spread::new(7));
            let keys: Vec<_> = (1..=8).map(|id| store.insert(stream(id))).collect();
            let (mut queue, mut model) = (Queue::<DataPlace>::new(), VecDeque::new());
            for (action, which) in steps {
                let key = keys[usize::from(which) % keys.len()];
                match action % 3 {
                    0 => {
                        let new = !model.contains(&key);
                        if new {
                            model.push_back(key);
                        }
                        if queue.push(&mut store, key) != new {
                            return false;
                        }
                    }
                    1 => {
                        if queue.pop(&mut store) != model.pop_front() {
                            return false;
                        }
                    }
                    _ => {
                        let there = model.contains(&key);
                        model.retain(|other| *other != key);
                        if queue.remove(&mut store, key) != there {
                            return false;
                        }
                    }
                }
                if queue.is_empty() != model.is_empty() {
                    return false;
                }
            }
            std::iter::from_fn(|| queue.pop(&mut store)).eq(model)
        }

        fn spread_is_a_bijection(random: u64, ids: Vec<u32>) -> bool {
            let spread = Spread::new(random);
            let ids: HashSet<_> = ids.into_iter().filter_map(StreamId::new).collect();
            ids.iter().map(|id| spread.of(*id)).collect::<HashSet<_>>().len() == ids.len()
        }
    }

    #[test]
    fn c11_ids_chosen_to_share_low_bits_are_spread() {
        let spread = Spread::new(0x9E37_79B9_7F4A_7C15);
        for shift in [1, 8, 12, 16] {
            let buckets: HashSet<_> =
                (1..=1024u32).filter_map(|i| StreamId::new((i << shift) | 1)).map(|id| spread.of(id) % 2048).collect();
            assert!(buckets.len() > 500, "{} of 1024 at shift {shift}", buckets.len());
        }
    }

    /// Looks and comparisons that it takes to find each of these hashes in a table as `hashbrown` has it: 16 slots are
    /// looked at together, from where the low bits say, and those are compared whose 7 high bits are the same.
    fn cost(hashes: impl Iterator<Item = u64>) -> u64 {
        const SLOTS: usize = 1 << 17;
        let (mut tags, mut cost) = (vec![None; SLOTS], 0);
        for hash in hashes {
            let (tag, mut at, mut stride) = (hash >> 57, hash as usize % SLOTS, 0);
            loop {
                let group = || (0..16).map(|slot| (at + slot) % SLOTS);
                cost += 1 + group().filter(|slot| tags[*slot] == Some(tag)).count() as u64;
                if let Some(free) = group().find(|slot| tags[*slot].is_none()) {
                    tags[free] = Some(tag);
                    break;
                }
                stride += 16;
                at = (at + stride) % SLOTS;
            }
        }
        cost
    }

    #[test]
    fn a_hundred_thousand_ids_of_any_choice_cost_at_most_twice_what_random_ones_do() {
        const STREAMS: u32 = 100_000;
        let mut chance = StdRng::seed_from_u64(1);
        let random = cost((0..STREAMS).map(|_| chance.random()));
        let choices: [fn(u32) -> u32; 7] = [
            |n| 2 * n + 1,
            |n| (n << 14) | (n >> 18) << 1 | 1,
            |n| (2 * n + 1).reverse_bits() | 1,
            |n| (n % 512) << 22 | (n / 512) << 1 | 1,
            |n| n.wrapping_mul(21_473) | 1,
            |n| u32::MAX - 2 * n,
            |n| n.wrapping_mul(n) << 1 | 1,
        ];
        for seed in 0..8 {
            let spread = Spread::new(StdRng::seed_from_u64(seed).random());
            for (index, choice) in choices.iter().enumerate() {
                let ids: HashSet<_> = (0..STREAMS).map(choice).filter_map(StreamId::new).collect();
                let (number, chosen) = (ids.len() as u64, cost(ids.into_iter().map(|id| spread.of(id))));
                assert!(chosen * u64::from(STREAMS) <= 2 * random * number, "choice {index}, seed {seed}: {chosen}");
            }
        }
    }

    #[test]
    fn a_key_that_outlives_its_stream_finds_nothing() {
        let mut store = Store::new(Spread::new(1));
        let key = store.insert(stream(1));
        assert!(store.unlink(StreamId::new(1).expect("not zero")));
        assert!(store.remove(key).is_some());
        let other = store.insert(stream(1));
        assert!(store.get(key).is_none() && store.get(other).is_some());
        assert_eq!((store.live(), store.len()), (1, 1));
    }
}
