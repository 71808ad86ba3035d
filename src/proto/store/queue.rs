//! Owns [`Queue`]: an intrusive list of streams, first in, first out.
//!
//! The links are in the streams, so that a queue allocates nothing and a stream leaves it in constant time. A stream
//! has one pair of links for each kind of queue: it is in at most one queue of a kind. Uses the store, and never
//! decides which streams are queued.

use super::Store;
use crate::proto::key::Key;
use crate::proto::stream::{ActiveState, Links};

/// Selects the links of a stream that a kind of queue uses.
pub(in crate::proto) trait Place {
    fn of(active: &mut ActiveState) -> &mut Links;

    fn at(active: &ActiveState) -> Links;
}

/// The queue of streams that owe control frames.
#[derive(Debug)]
pub(in crate::proto) struct ControlPlace;

/// The queues of streams that have data or a FIN to send.
#[derive(Debug)]
pub(in crate::proto) struct DataPlace;

/// The queue of streams that wait for a flush.
#[derive(Debug)]
pub(in crate::proto) struct FlushPlace;

/// The queues of writers that wait for room in the send buffers.
#[derive(Debug)]
pub(in crate::proto) struct RoomPlace;

impl Place for ControlPlace {
    fn of(active: &mut ActiveState) -> &mut Links {
        &mut active.control_links
    }

    fn at(active: &ActiveState) -> Links {
        active.control_links
    }
}

impl Place for DataPlace {
    fn of(active: &mut ActiveState) -> &mut Links {
        &mut active.data_links
    }

    fn at(active: &ActiveState) -> Links {
        active.data_links
    }
}

impl Place for FlushPlace {
    fn of(active: &mut ActiveState) -> &mut Links {
        &mut active.flush_links
    }

    fn at(active: &ActiveState) -> Links {
        active.flush_links
    }
}

impl Place for RoomPlace {
    fn of(active: &mut ActiveState) -> &mut Links {
        &mut active.room_links
    }

    fn at(active: &ActiveState) -> Links {
        active.room_links
    }
}

/// A first-in-first-out queue threaded through the streams. Pushing a stream that is queued does nothing.
#[derive(Debug)]
pub(in crate::proto) struct Queue<P> {
    head: Option<Key>,
    tail: Option<Key>,
    place: std::marker::PhantomData<P>,
}

impl<P: Place> Queue<P> {
    pub(in crate::proto) const fn new() -> Self {
        Self { head: None, tail: None, place: std::marker::PhantomData }
    }

    pub(in crate::proto) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Appends a stream; returns whether it was not queued before.
    pub(in crate::proto) fn push(&mut self, store: &mut Store, key: Key) -> bool {
        let Some(links) = store.activate(key).map(P::of).filter(|links| !links.queued) else {
            return false;
        };
        *links = Links { previous: self.tail, next: None, queued: true };
        match self.tail.replace(key).and_then(|tail| moving(store, tail)) {
            Some(tail) => P::of(tail).next = Some(key),
            None => self.head = Some(key),
        }
        true
    }

    /// Prepends a stream; returns whether it was not queued before.
    pub(in crate::proto) fn push_front(&mut self, store: &mut Store, key: Key) -> bool {
        let Some(links) = store.activate(key).map(P::of).filter(|links| !links.queued) else {
            return false;
        };
        *links = Links { previous: None, next: self.head, queued: true };
        match self.head.replace(key).and_then(|head| moving(store, head)) {
            Some(head) => P::of(head).previous = Some(key),
            None => self.tail = Some(key),
        }
        true
    }

    pub(in crate::proto) const fn first(&self) -> Option<Key> {
        self.head
    }

    /// The stream behind `key`, which is queued here.
    pub(in crate::proto) fn after(&self, store: &Store, key: Key) -> Option<Key> {
        P::at(store.get(key)?.active()).next
    }

    /// All queued streams, from the first to the last.
    pub(in crate::proto) fn iter<'a>(&self, store: &'a Store) -> impl Iterator<Item = Key> + use<'a, '_, P> {
        std::iter::successors(self.first(), |key| self.after(store, *key))
    }

    pub(in crate::proto) fn pop(&mut self, store: &mut Store) -> Option<Key> {
        let key = self.head?;
        self.remove(store, key);
        Some(key)
    }

    /// Removes a stream from any position; returns whether it was queued. It must be queued here or nowhere.
    pub(in crate::proto) fn remove(&mut self, store: &mut Store, key: Key) -> bool {
        let Some(links) = moving(store, key).map(P::of).filter(|links| links.queued) else {
            return false;
        };
        let Links { previous, next, .. } = std::mem::take(links);
        match previous.and_then(|key| moving(store, key)) {
            Some(active) => P::of(active).next = next,
            None => self.head = next,
        }
        match next.and_then(|key| moving(store, key)) {
            Some(active) => P::of(active).previous = previous,
            None => self.tail = previous,
        }
        store.release_if_idle(key);
        true
    }
}

fn moving(store: &mut Store, key: Key) -> Option<&mut ActiveState> {
    store.get_mut(key)?.active.as_deref_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryManager, Reservation, Unlimited};
    use crate::priority::Priority;
    use crate::proto::store::id_hash::IdHash;
    use crate::proto::stream::{Handshake, Stream};
    use crate::wire::StreamId;
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
            let mut store = Store::new(IdHash::new(7));
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
}
