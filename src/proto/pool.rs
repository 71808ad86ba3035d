//! Owns [`Pool`]: the memory of a connection's send buffers and who may use how much of it.
//!
//! What is in the pool is covered by the peers' credit (Y-SEND-1), so only the socket keeps it there: it drains whenever
//! the connection moves. A small base needs no reservation, so that a connection moves however full the budget is
//! (Y-MEM-5). Buckets may fill shares of it as they do of the budget, so low ones never keep a high one from writing
//! (Y-MEM-6). Capacity that nobody uses holds chunks to be used again.

use super::limits::{POOL_IDLE, SEND_BASE};
use super::spares::Spares;
use super::store::{Key, Queue, RoomPlace, Store};
use crate::memory::Reservation;
use crate::priority::Priority;
use bytes::{Bytes, BytesMut};
use web_time::Instant;

/// Bytes that a writer is assumed to want when it is woken.
const TYPICAL_WRITE: usize = 16 * 1024;

/// Fewer bytes than this are not worth a write that wants more.
const CRUMB: usize = 1024;

#[derive(Debug)]
pub(super) struct Pool {
    used: usize,
    max: usize,
    reservation: Option<Reservation>,
    /// The highest priority at which more memory has been refused since anything left. Until something does it is not asked
    /// for again: a writer that is polled in vain would ask each time.
    refused: Option<Priority>,
    /// Since when nothing has been buffered, while memory is reserved.
    idle_since: Option<Instant>,
    /// Chunks in the part of the capacity that is not used.
    pub(super) spares: Spares,
    /// Writers that found no room, by bucket. Each is there once, however often it asks.
    waiting: [Queue<RoomPlace>; Priority::BUCKETS],
}

impl Pool {
    pub(super) fn new(max: usize) -> Self {
        let waiting = std::array::from_fn(|_| Queue::new());
        let spares = Spares::default();
        Self { used: 0, max: max.max(SEND_BASE), reservation: None, refused: None, idle_since: None, spares, waiting }
    }

    pub(super) const fn used(&self) -> usize {
        self.used
    }

    pub(super) fn reserved(&self) -> usize {
        self.reservation.as_ref().map_or(0, Reservation::bytes)
    }

    fn capacity(&self) -> usize {
        SEND_BASE.saturating_add(self.reserved())
    }

    /// Bytes that a stream of `priority`, which has `own` of them in the pool, may add now; it `wants` some.
    ///
    /// A stream gets half of what is free beyond what it has itself: busy ones always leave room for a small write of
    /// their bucket, and large writes are not cut to crumbs.
    pub(super) fn room(&self, priority: Priority, own: usize, wants: usize) -> usize {
        let room = self.free(priority.bucket()).saturating_sub(own).div_ceil(2);
        if room < wants.min(CRUMB) { 0 } else { room }
    }

    /// Bytes of a bucket's share that are not used.
    fn free(&self, bucket: usize) -> usize {
        Priority::level_of(bucket).threshold(self.capacity()).saturating_sub(self.used)
    }

    /// Bytes by which the pool wants to be larger, for a writer of `priority` that found too little room.
    pub(super) fn growth(&self, priority: Priority) -> Option<usize> {
        let capacity = self.capacity();
        let growth = capacity.min(self.max.saturating_sub(capacity));
        Some(growth).filter(|growth| *growth > 0 && !self.is_refused(priority))
    }

    /// More memory was refused at this priority.
    pub(super) fn refuse(&mut self, priority: Priority) {
        self.refused = self.refused.max(Some(priority));
    }

    pub(super) fn is_refused(&self, priority: Priority) -> bool {
        self.refused >= Some(priority)
    }

    /// Makes the pool larger; gives back what is beyond the maximum.
    pub(super) fn grow(&mut self, mut reservation: Reservation) -> Option<Reservation> {
        let fits = self.max.saturating_sub(self.capacity());
        let beyond = reservation.bytes().saturating_sub(fits);
        let excess = (beyond > 0).then(|| reservation.split(beyond));
        match &mut self.reservation {
            Some(own) => own.merge(reservation),
            None => self.reservation = Some(reservation),
        }
        excess
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.idle_since = None;
        self.used = self.used.saturating_add(bytes);
        let free = self.capacity().saturating_sub(self.used);
        if self.spares.len() > free {
            self.spares.shrink(free);
        }
    }

    /// `bytes` have been written to the transport, or dropped.
    pub(super) const fn remove(&mut self, bytes: usize) {
        self.refused = None;
        self.used = self.used.saturating_sub(bytes);
    }

    /// There is nothing to send at the moment.
    pub(super) fn idle(&mut self, now: Instant) {
        if self.used == 0 && (self.reservation.is_some() || self.spares.len() > 0) {
            self.idle_since.get_or_insert(now);
        }
    }

    /// When what is reserved is to be given back, unless something is written before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.idle_since.and_then(|since| since.checked_add(POOL_IDLE))
    }

    /// What is reserved and has not been needed for a while.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Reservation> {
        self.poll_timeout().filter(|at| now >= *at)?;
        self.idle_since = None;
        self.spares.shrink(0);
        self.reservation.take()
    }

    /// Keeps chunks that were used, as far as there is capacity that nobody uses.
    pub(super) fn recycle(&mut self, spent: impl IntoIterator<Item = Bytes>) {
        let most = self.capacity().saturating_sub(self.used);
        spent.into_iter().for_each(|bytes| self.spares.put(bytes, most));
    }

    /// The same for a chunk that nobody else holds a part of.
    pub(super) fn reuse(&mut self, mut chunk: BytesMut) {
        chunk.clear();
        self.spares.keep(chunk, self.capacity().saturating_sub(self.used));
    }

    pub(super) fn wait(&mut self, store: &mut Store, key: Key, priority: Priority) {
        if let Some(waiting) = self.waiting.get_mut(priority.bucket()) {
            waiting.push(store, key);
        }
    }

    /// The writer waits no more, or not at this priority.
    pub(super) fn leave(&mut self, store: &mut Store, key: Key, priority: Priority) {
        if let Some(waiting) = self.waiting.get_mut(priority.bucket()) {
            waiting.remove(store, key);
        }
    }

    /// The next writer to wake for the room that there is, the highest bucket first. `woken` is how many were woken for
    /// it already. When the pool is empty everyone is woken: there may be no other occasion.
    pub(super) fn next_waiting(&mut self, store: &mut Store, woken: usize) -> Option<Key> {
        let expected = woken.saturating_mul(TYPICAL_WRITE);
        let room: [bool; Priority::BUCKETS] =
            std::array::from_fn(|bucket| self.used == 0 || self.free(bucket) > expected);
        let mut buckets = self.waiting.iter_mut().zip(room).rev().filter(|(_, room)| *room);
        buckets.find_map(|(waiting, _)| waiting.pop(store))
    }

    /// Forgets all bytes; gives back the reservation.
    pub(super) fn clear(&mut self) -> Option<Reservation> {
        (self.used, self.refused, self.idle_since) = (0, None, None);
        self.spares.shrink(0);
        self.reservation.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryLimit, MemoryManager};
    use std::sync::Arc;

    fn reserve(bytes: usize) -> (Arc<MemoryLimit>, Reservation) {
        let limit = Arc::new(MemoryLimit::new(1 << 30));
        let manager: Arc<dyn MemoryManager> = limit.clone();
        (limit, Reservation::new(&manager, bytes, Priority::ALWAYS).expect("room"))
    }

    #[test]
    fn shares_keep_room_for_higher_buckets() {
        let mut pool = Pool::new(SEND_BASE);
        for priority in [Priority::new(0), Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS] {
            let before = pool.used();
            while pool.room(priority, 0, CRUMB) > 0 {
                pool.add(pool.room(priority, 0, CRUMB));
            }
            let share = Priority::level_of(priority.bucket()).threshold(SEND_BASE);
            assert!(
                pool.used() <= share && share - pool.used() < 2 * CRUMB,
                "{priority:?}: {} of {share}",
                pool.used()
            );
            assert!(pool.used() > before || priority == Priority::LOW, "{priority:?}");
        }
    }

    #[test]
    fn busy_streams_leave_room_for_a_small_write_of_their_bucket() {
        for streams in [1, 2, 5, 100] {
            let (mut pool, mut own) = (Pool::new(SEND_BASE), vec![0; streams]);
            for turn in 0..1000 {
                let own = &mut own[turn % streams];
                let room = pool.room(Priority::MEDIUM, *own, SEND_BASE);
                pool.add(room);
                *own += room;
            }
            assert!(pool.room(Priority::MEDIUM, 0, CRUMB / 2) >= CRUMB / 2, "beside {streams}");
        }
    }

    #[test]
    fn what_was_refused_is_not_asked_for_again_until_something_leaves() {
        let mut pool = Pool::new(3 * SEND_BASE);
        pool.add(SEND_BASE);
        pool.refuse(Priority::MEDIUM);
        pool.refuse(Priority::LOW);
        let asks = |pool: &Pool| [Priority::LOW, Priority::MEDIUM, Priority::HIGH].map(|p| pool.growth(p).is_some());
        assert_eq!(asks(&pool), [false, false, true]);
        pool.remove(1);
        assert_eq!(asks(&pool), [true; 3]);
    }

    #[test]
    fn it_doubles_up_to_its_maximum_and_gives_the_rest_back() {
        let mut pool = Pool::new(3 * SEND_BASE);
        assert_eq!(pool.growth(Priority::MEDIUM), Some(SEND_BASE));
        let (limit, reservation) = reserve(3 * SEND_BASE);
        let excess = pool.grow(reservation).expect("one base too much");
        assert_eq!((excess.bytes(), pool.capacity(), pool.growth(Priority::MEDIUM)), (SEND_BASE, 3 * SEND_BASE, None));
        drop(excess);
        let now = Instant::now();
        pool.add(1);
        pool.idle(now);
        assert_eq!(pool.poll_timeout(), None);
        pool.remove(1);
        pool.idle(now);
        assert!(pool.handle_timeout(now).is_none());
        pool.add(1);
        pool.remove(1);
        assert!(pool.handle_timeout(now + POOL_IDLE).is_none());
        pool.idle(now + POOL_IDLE);
        drop(pool.handle_timeout(now + 2 * POOL_IDLE));
        assert_eq!((limit.reserved(), pool.capacity(), pool.poll_timeout()), (0, SEND_BASE, None));
    }
}
