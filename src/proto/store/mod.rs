//! Owns [`Store`]: the streams of a connection, by key and by id.
//!
//! The tables are small, since idle streams pay for them too: a pointer for each key and two words for each id. Uses
//! streams, their buffers and keys. Never decides anything about a stream.

pub(in crate::proto) mod id_hash;
pub(in crate::proto) mod queue;

use crate::counting::count_down;
use crate::proto::buffer::chunk_pool::ChunkPool;
use crate::proto::buffer::free_list::FreeList;
use crate::proto::key::{Key, Serial};
use crate::proto::store::id_hash::{IdHash, shrink_sparse};
use crate::proto::stream::{ActiveState, ReceiveState, Stream, states_kept};
use crate::wire::StreamId;
use std::collections::HashMap;

/// Streams by key, and the ids of streams on the wire.
#[derive(Debug)]
pub(super) struct Store {
    /// Boxed: the slots of many former streams then cost few bytes.
    slots: Vec<Option<Box<Stream>>>,
    /// Candidates for free slots: some of them are gone or in use again.
    free: Vec<u32>,
    next: Serial,
    /// The slots of streams on the wire, by id.
    ids: HashMap<StreamId, u32, IdHash>,
    /// States come and go with every message, so they are not allocated for each.
    idle_states: FreeList<Box<ActiveState>>,
}

impl Store {
    pub(super) fn new(id_hash: IdHash) -> Self {
        let (ids, idle_states) = (HashMap::with_hasher(id_hash), FreeList::default());
        Self { slots: Vec::new(), free: Vec::new(), next: Serial::FIRST, ids, idle_states }
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
        u32::try_from(count_down(self.slots.len(), 1)).unwrap_or(u32::MAX)
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

    /// The active state of a stream, for changes. An idle stream gets one.
    pub(super) fn activate(&mut self, key: Key) -> Option<&mut ActiveState> {
        let slot = self.slots.get_mut(key.slot as usize)?.as_deref_mut();
        let stream = slot.filter(|stream| stream.serial == key.serial)?;
        let new = || Box::new(ActiveState::new());
        Some(stream.active.get_or_insert_with(|| self.idle_states.take().unwrap_or_else(new)))
    }

    /// Buffers bytes of a body; `false` if the application will not read them.
    pub(super) fn keep(&mut self, key: Key, bytes: &[u8], free_chunks: &mut ChunkPool) -> bool {
        let open = self.get(key).is_some_and(|stream| stream.receive.state == ReceiveState::Open);
        let active = if open { self.activate(key) } else { None };
        active.is_some_and(|active| {
            active.unread.push(bytes, free_chunks);
            true
        })
    }

    /// Takes the active state of a stream back if it is not needed.
    pub(super) fn release_if_idle(&mut self, key: Key) {
        let (slot, streams) = (self.slots.get_mut(key.slot as usize), self.ids.len());
        if let Some(stream) = slot.and_then(Option::as_deref_mut).filter(|stream| stream.serial == key.serial) {
            ActiveState::release(&mut stream.active, &mut self.idle_states, streams);
        }
    }

    /// Forgets all ids at once: no frame arrives any more. Each stream still has to be unlinked.
    pub(super) fn forget_ids(&mut self) {
        self.ids.clear();
        self.ids.shrink_to_fit();
    }

    /// Forgets a stream's id, so that late frames do not find it; returns whether it was known.
    pub(super) fn unlink(&mut self, key: Key) -> bool {
        let Some(stream) = self.get_mut(key).filter(|stream| stream.linked) else { return false };
        stream.linked = false;
        let id = stream.id;
        if self.ids.remove(&id).is_some() {
            shrink_sparse(&mut self.ids);
            self.idle_states.shrink(states_kept(self.ids.len()));
        }
        true
    }

    /// Removes a stream that was unlinked and is in no queue.
    pub(super) fn remove(&mut self, key: Key) -> Option<Stream> {
        self.get(key)?;
        self.release_if_idle(key);
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

    /// Number of streams on the wire.
    pub(super) fn live(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(slot, stream)| stream.as_ref().map(|stream| Key { slot, serial: stream.serial }))
    }

    /// Frees spare storage.
    pub(super) fn release_all_idle(&mut self) {
        for stream in self.slots.iter_mut().flatten() {
            ActiveState::release(&mut stream.active, &mut self.idle_states, 0);
            stream.receive.window.forget_rate();
        }
        self.idle_states.clear();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryManager, Reservation, Unlimited};
    use crate::priority::Priority;
    use crate::proto::store::queue::{DataPlace, Queue};
    use crate::proto::stream::{Handshake, ReceiveEvent};
    use std::sync::Arc;

    fn stream(id: u32) -> Stream {
        let manager: Arc<dyn MemoryManager> = Arc::new(Unlimited);
        let reservation = Reservation::new(&manager, 1, Priority::ALWAYS).expect("unlimited");
        Stream::new(StreamId::new(id).expect("not zero"), Handshake::Done, Priority::MEDIUM, 0, reservation)
    }

    #[test]
    fn nothing_is_kept_once_reading_is_over() {
        for event in [ReceiveEvent::Fin, ReceiveEvent::Stop, ReceiveEvent::RemoteReset, ReceiveEvent::LocalReset] {
            let (mut store, mut free_chunks) = (Store::new(IdHash::new(1)), ChunkPool::default());
            let key = store.insert(stream(1));
            assert!(store.keep(key, b"before", &mut free_chunks));
            let stream = store.get_mut(key).expect("there");
            stream.receive.state = stream.receive.state.on(event);
            assert!(!store.keep(key, b"after", &mut free_chunks));
            assert_eq!(store.get_mut(key).expect("there").drop_unread(), 6);
        }
    }

    #[test]
    fn a_stream_on_which_nothing_moves_has_nothing_for_it() {
        let (mut store, mut free_chunks, mut queue) =
            (Store::new(IdHash::new(1)), ChunkPool::default(), Queue::<DataPlace>::new());
        let key = store.insert(stream(1));
        let moves = |store: &Store| store.get(key).is_some_and(|stream| stream.active.is_some());
        assert!(!moves(&store));
        assert!(store.keep(key, b"bytes", &mut free_chunks) && queue.push(&mut store, key));
        store.release_if_idle(key);
        assert_eq!(queue.pop(&mut store), Some(key));
        assert!(moves(&store), "the bytes are there");
        assert_eq!(store.get_mut(key).expect("there").drop_unread(), 5);
        store.release_if_idle(key);
        assert!(!moves(&store));
    }

    /// Every idle stream pays for it (`tests/idle`).
    #[test]
    fn a_stream_is_small() {
        assert!(size_of::<Stream>() <= 160, "{}", size_of::<Stream>());
        assert_eq!(size_of::<Option<Key>>(), 8);
    }

    #[test]
    fn a_key_that_outlives_its_stream_finds_nothing() {
        let mut store = Store::new(IdHash::new(1));
        let key = store.insert(stream(1));
        assert!(store.unlink(key) && !store.unlink(key));
        assert!(store.remove(key).is_some());
        let other = store.insert(stream(1));
        assert!(store.get(key).is_none() && store.get(other).is_some());
        assert_eq!((store.live(), store.len()), (1, 1));
    }

    #[test]
    fn slots_are_used_again_and_given_back() {
        let mut store = Store::new(IdHash::new(1));
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
        store.release_all_idle();
        assert_eq!((store.len(), store.slots.capacity(), store.free.capacity()), (10, 10, 0));
        assert!(keys[..10].iter().all(|key| store.get(*key).is_some()) && store.ids.capacity() < 32);
        close(&mut store, &keys[..10]);
        store.release_all_idle();
        assert_eq!((store.slots.capacity(), store.ids.capacity()), (0, 0));
    }
}
