//! Owns [`Store`]: where the streams are, by key and by id, and the queues threaded through them.
//!
//! A [`Key`] is generational: one that outlives its stream finds nothing, never another stream. The books are small, since
//! they are the same for a stream that does nothing: a pointer a key and two words an id.

use super::spares::Spares;
use super::spread::{Spread, trim};
use super::stream::{Motion, Motions, ReceiveState, Stream};
use crate::wire::StreamId;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;

/// Names a stream for as long as it is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    slot: u32,
    serial: Serial,
}

/// Tells streams apart that had the same slot: the streams of a connection are numbered as they come. The numbers begin
/// anew after four thousand million; whoever still has a key of that age has not used it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serial(NonZeroU32);

/// Streams by key, and the ids of those whose wire life is not over.
#[derive(Debug)]
pub(super) struct Store {
    /// Boxed, since slots stay where they are and streams do not: what was many streams once is few bytes now.
    slots: Vec<Option<Box<Stream>>>,
    /// Slots that hold none, and some that are no more or hold one again.
    free: Vec<u32>,
    next: Serial,
    /// The slots of those that are on the wire.
    ids: HashMap<StreamId, u32, Spread>,
    motions: Motions,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // No two streams have the same slot at one time.
        state.write_u32(self.slot);
    }
}

impl Serial {
    pub(super) const FIRST: Self = Self(NonZeroU32::MIN);

    const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self::FIRST,
        }
    }
}

impl Store {
    pub(super) fn new(spread: Spread) -> Self {
        let (ids, motions) = (HashMap::with_hasher(spread), Motions::default());
        Self { slots: Vec::new(), free: Vec::new(), next: Serial::FIRST, ids, motions }
    }

    /// Adds a stream whose id is not in use.
    pub(super) fn insert(&mut self, mut stream: Stream) -> Key {
        let serial = self.next;
        self.next = serial.next();
        (stream.serial, stream.linked) = (serial, true);
        let id = stream.id;
        let slot = self.place(Box::new(stream));
        let previous = self.ids.insert(id, slot);
        debug_assert!(previous.is_none(), "two streams of one id");
        Key { slot, serial }
    }

    fn place(&mut self, stream: Box<Stream>) -> u32 {
        while let Some(slot) = self.free.pop() {
            if let Some(vacant @ None) = self.slots.get_mut(slot as usize) {
                *vacant = Some(stream);
                return slot;
            }
        }
        self.slots.push(Some(stream));
        u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    pub(super) fn find(&self, id: StreamId) -> Option<Key> {
        let slot = *self.ids.get(&id)?;
        let stream = self.slots.get(slot as usize)?.as_ref()?;
        Some(Key { slot, serial: stream.serial })
    }

    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.slots.get(key.slot as usize)?.as_deref().filter(|stream| stream.serial == key.serial)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key.slot as usize)?.as_deref_mut().filter(|stream| stream.serial == key.serial)
    }

    /// What moves on a stream, to be changed: something does, or will.
    pub(super) fn motion(&mut self, key: Key) -> Option<&mut Motion> {
        let slot = self.slots.get_mut(key.slot as usize)?.as_deref_mut();
        let stream = slot.filter(|stream| stream.serial == key.serial)?;
        Some(stream.motion.get_or_insert_with(|| self.motions.take()))
    }

    /// Takes bytes of a body in; `false` where nobody will read them.
    pub(super) fn keep(&mut self, key: Key, bytes: &[u8], spares: &mut Spares) -> bool {
        let open = self.get(key).is_some_and(|stream| stream.receive.state == ReceiveState::Open);
        let motion = if open { self.motion(key) } else { None };
        motion.is_some_and(|motion| {
            motion.unread.push(bytes, spares);
            true
        })
    }

    /// Something moves no more on a stream: perhaps nothing does.
    pub(super) fn still(&mut self, key: Key) {
        let (slot, streams) = (self.slots.get_mut(key.slot as usize), self.ids.len());
        if let Some(stream) = slot.and_then(Option::as_deref_mut).filter(|stream| stream.serial == key.serial) {
            self.motions.put(&mut stream.motion, streams);
        }
    }

    /// Forgets all ids at once: nothing arrives any more. Each stream still has to be unlinked.
    pub(super) fn forget_ids(&mut self) {
        self.ids.clear();
        self.ids.shrink_to_fit();
    }

    /// Forgets a stream's id: late frames find nothing. Says whether it was there.
    pub(super) fn unlink(&mut self, key: Key) -> bool {
        let Some(stream) = self.get_mut(key).filter(|stream| stream.linked) else { return false };
        stream.linked = false;
        let id = stream.id;
        if self.ids.remove(&id).is_some() {
            trim(&mut self.ids);
            self.motions.trim(self.ids.len());
        }
        true
    }

    /// Removes a stream that was unlinked and is in no queue.
    pub(super) fn remove(&mut self, key: Key) -> Option<Stream> {
        self.get(key)?;
        self.still(key);
        let stream = self.slots.get_mut(key.slot as usize)?.take()?;
        self.free.push(key.slot);
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        if self.slots.is_empty() {
            self.free = Vec::new();
        }
        Some(*stream)
    }

    /// Streams whose wire life is not over.
    pub(super) fn live(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(slot, stream)| stream.as_ref().map(|stream| Key { slot, serial: stream.serial }))
    }

    /// Gives back what holds nothing.
    pub(super) fn rest(&mut self) {
        for stream in self.slots.iter_mut().flatten() {
            self.motions.put(&mut stream.motion, 0);
            stream.receive.window.rest();
        }
        self.motions.clear();
        self.slots.shrink_to_fit();
        self.free.retain(|slot| self.slots.get(*slot as usize).is_some_and(Option::is_none));
        self.free.shrink_to_fit();
        self.ids.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys().count()
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
    pub(super) const fn new() -> Self {
        Self { previous: None, next: None, queued: false }
    }

    pub(super) const fn is_queued(&self) -> bool {
        self.queued
    }
}

/// Which of a stream's links a queue uses.
pub(super) trait Place {
    fn of(motion: &mut Motion) -> &mut Links;

    fn at(motion: &Motion) -> Links;
}

/// The queue of streams that owe control frames.
#[derive(Debug)]
pub(super) struct ControlPlace;

/// The queues of streams that have data or a FIN to send.
#[derive(Debug)]
pub(super) struct DataPlace;

/// The queue of streams that wait for a flush.
#[derive(Debug)]
pub(super) struct FlushPlace;

/// The queues of writers that wait for room in the send buffers.
#[derive(Debug)]
pub(super) struct RoomPlace;

impl Place for ControlPlace {
    fn of(motion: &mut Motion) -> &mut Links {
        &mut motion.control_links
    }

    fn at(motion: &Motion) -> Links {
        motion.control_links
    }
}

impl Place for DataPlace {
    fn of(motion: &mut Motion) -> &mut Links {
        &mut motion.data_links
    }

    fn at(motion: &Motion) -> Links {
        motion.data_links
    }
}

impl Place for FlushPlace {
    fn of(motion: &mut Motion) -> &mut Links {
        &mut motion.flush_links
    }

    fn at(motion: &Motion) -> Links {
        motion.flush_links
    }
}

impl Place for RoomPlace {
    fn of(motion: &mut Motion) -> &mut Links {
        &mut motion.room_links
    }

    fn at(motion: &Motion) -> Links {
        motion.room_links
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
        let Some(links) = store.motion(key).map(P::of).filter(|links| !links.queued) else {
            return false;
        };
        *links = Links { previous: self.tail, next: None, queued: true };
        match self.tail.replace(key).and_then(|tail| moving(store, tail)) {
            Some(tail) => P::of(tail).next = Some(key),
            None => self.head = Some(key),
        }
        true
    }

    /// Puts a stream at the beginning; says whether it was not queued before.
    pub(super) fn push_front(&mut self, store: &mut Store, key: Key) -> bool {
        let Some(links) = store.motion(key).map(P::of).filter(|links| !links.queued) else {
            return false;
        };
        *links = Links { previous: None, next: self.head, queued: true };
        match self.head.replace(key).and_then(|head| moving(store, head)) {
            Some(head) => P::of(head).previous = Some(key),
            None => self.tail = Some(key),
        }
        true
    }

    pub(super) const fn first(&self) -> Option<Key> {
        self.head
    }

    /// The one behind `key`, which is queued here.
    pub(super) fn after(&self, store: &Store, key: Key) -> Option<Key> {
        P::at(store.get(key)?.motion()).next
    }

    /// All that are queued, from the first to the last.
    pub(super) fn iter<'a>(&self, store: &'a Store) -> impl Iterator<Item = Key> + use<'a, '_, P> {
        std::iter::successors(self.first(), |key| self.after(store, *key))
    }

    pub(super) fn pop(&mut self, store: &mut Store) -> Option<Key> {
        let key = self.head?;
        self.remove(store, key);
        Some(key)
    }

    /// Takes a stream out, wherever it is; says whether it was queued. It must be queued here or nowhere.
    pub(super) fn remove(&mut self, store: &mut Store, key: Key) -> bool {
        let Some(links) = moving(store, key).map(P::of).filter(|links| links.queued) else {
            return false;
        };
        let Links { previous, next, .. } = std::mem::take(links);
        match previous.and_then(|key| moving(store, key)) {
            Some(motion) => P::of(motion).next = next,
            None => self.head = next,
        }
        match next.and_then(|key| moving(store, key)) {
            Some(motion) => P::of(motion).previous = previous,
            None => self.tail = previous,
        }
        store.still(key);
        true
    }
}

fn moving(store: &mut Store, key: Key) -> Option<&mut Motion> {
    store.get_mut(key)?.motion.as_deref_mut()
}

#[cfg(test)]
mod tests {
    use super::super::stream::{Handshake, ReceiveEvent};
    use super::*;
    use crate::memory::{MemoryManager, Reservation, Unlimited};
    use crate::priority::Priority;
    use quickcheck::quickcheck;
    use std::collections::VecDeque;
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
    }

    #[test]
    fn nothing_is_kept_once_reading_is_over() {
        for event in [ReceiveEvent::Fin, ReceiveEvent::Stop, ReceiveEvent::RemoteReset, ReceiveEvent::LocalReset] {
            let (mut store, mut spares) = (Store::new(Spread::new(1)), Spares::default());
            let key = store.insert(stream(1));
            assert!(store.keep(key, b"before", &mut spares));
            let stream = store.get_mut(key).expect("there");
            stream.receive.state = stream.receive.state.on(event);
            assert!(!store.keep(key, b"after", &mut spares));
            assert_eq!(store.get_mut(key).expect("there").drop_unread(), 6);
        }
    }

    #[test]
    fn a_stream_on_which_nothing_moves_has_nothing_for_it() {
        let (mut store, mut spares, mut queue) =
            (Store::new(Spread::new(1)), Spares::default(), Queue::<DataPlace>::new());
        let key = store.insert(stream(1));
        let moves = |store: &Store| store.get(key).is_some_and(|stream| stream.motion.is_some());
        assert!(!moves(&store));
        assert!(store.keep(key, b"bytes", &mut spares) && queue.push(&mut store, key));
        store.still(key);
        assert_eq!(queue.pop(&mut store), Some(key));
        assert!(moves(&store), "the bytes are there");
        assert_eq!(store.get_mut(key).expect("there").drop_unread(), 5);
        store.still(key);
        assert!(!moves(&store));
    }

    /// It is paid for by everyone who has many (`tests/idle`).
    #[test]
    fn a_stream_is_small() {
        assert!(size_of::<Stream>() <= 160, "{}", size_of::<Stream>());
        assert_eq!(size_of::<Option<Key>>(), 8);
    }

    #[test]
    fn a_key_that_outlives_its_stream_finds_nothing() {
        let mut store = Store::new(Spread::new(1));
        let key = store.insert(stream(1));
        assert!(store.unlink(key) && !store.unlink(key));
        assert!(store.remove(key).is_some());
        let other = store.insert(stream(1));
        assert!(store.get(key).is_none() && store.get(other).is_some());
        assert_eq!((store.live(), store.len()), (1, 1));
    }

    #[test]
    fn slots_are_used_again_and_given_back() {
        let mut store = Store::new(Spread::new(1));
        let open = |store: &mut Store, ids: std::ops::RangeInclusive<u32>| -> Vec<_> {
            ids.map(|id| store.insert(stream(id))).collect()
        };
        let close = |store: &mut Store, keys: &[Key]| {
            keys.iter().for_each(|key| assert!(store.unlink(*key) && store.remove(*key).is_some()));
        };
        let keys = open(&mut store, 1..=100);
        close(&mut store, &keys[10..90]);
        let more = open(&mut store, 11..=90);
        assert_eq!(store.slots.len(), 100);
        assert!(more.iter().all(|key| !keys.contains(key)) && keys[10..90].iter().all(|key| store.get(*key).is_none()));
        close(&mut store, &keys[90..]);
        close(&mut store, &more);
        store.rest();
        assert_eq!((store.len(), store.slots.capacity(), store.free.capacity()), (10, 10, 0));
        assert!(keys[..10].iter().all(|key| store.get(*key).is_some()) && store.ids.capacity() < 32);
        close(&mut store, &keys[..10]);
        store.rest();
        assert_eq!((store.slots.capacity(), store.ids.capacity()), (0, 0));
    }
}
