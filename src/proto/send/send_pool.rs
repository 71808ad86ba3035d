//! Owns [`SendPool`]: the memory of a connection's send buffers, who may use how much of it, and the writers that wait for it.
//!
//! What is in the pool is covered by the peers' credit (Y-SEND-1), so only the socket keeps it there: it drains whenever
//! the connection moves. A small base needs no reservation, so that a connection moves however full the budget is
//! (Y-MEM-5). Buckets may fill shares of it as they do of the budget, so low ones never keep a high one from writing, and a
//! part is each bucket's own, so high ones never keep a low one from it either (Y-MEM-6). Capacity that nobody uses holds
//! chunks to be used again. Never asks the memory manager itself.

use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::buffer::chunk_pool::ChunkPool;
use crate::proto::key::Key;
use crate::proto::limits::{POOL_IDLE, SEND_BASE, SEND_PARTS, WRITES_AHEAD};
use crate::proto::store::Store;
use crate::proto::store::queue::{Queue, RoomPlace};
use crate::proto::stream::readiness::Readiness;
use bytes::{Bytes, BytesMut};
use web_time::Instant;

/// Bytes that a writer is assumed to want when it is woken.
const TYPICAL_WRITE: usize = 16 * 1024;

/// Fewer bytes than this are not worth a write that wants more.
const MIN_WRITE_ROOM: usize = 1024;

#[derive(Debug)]
pub(in crate::proto) struct SendPool {
    used: usize,
    /// The same by bucket.
    by_bucket: [usize; Priority::BUCKETS],
    /// Of that, what has been encoded and not been written to the transport yet.
    in_batch: [usize; Priority::BUCKETS],
    max: usize,
    reservation: Option<Reservation>,
    /// The highest priority at which more memory has been refused since anything left. Until something does it is not asked
    /// for again: a writer that is polled in vain would ask each time.
    refused: Option<Priority>,
    /// Since when nothing has been buffered, while memory is reserved.
    idle_since: Option<Instant>,
    /// Chunks in the part of the capacity that is not used.
    pub(in crate::proto) free_chunks: ChunkPool,
    /// Writers that found no room, by bucket. Each is there once, however often it asks, until it is served.
    waiting: [Queue<RoomPlace>; Priority::BUCKETS],
    turns: [Turn; Priority::BUCKETS],
}

/// How those are served who wait in a bucket.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// How many of them have been, modulo 65,535: never 0, which is the turn of a stream that was not written to.
    number: u16,
    /// Writes of others that were taken in since.
    ahead: u8,
}

/// A look at those who wait: how far it has come, and how many were woken.
#[derive(Debug)]
pub(in crate::proto) struct Round {
    next: [Option<Key>; Priority::BUCKETS],
    woken: [usize; Priority::BUCKETS],
}

impl SendPool {
    pub(in crate::proto) fn new(max: usize) -> Self {
        let waiting = std::array::from_fn(|_| Queue::new());
        Self {
            used: 0,
            by_bucket: [0; Priority::BUCKETS],
            in_batch: [0; Priority::BUCKETS],
            max: max.max(SEND_BASE),
            reservation: None,
            refused: None,
            idle_since: None,
            free_chunks: ChunkPool::default(),
            waiting,
            turns: [Turn { number: 1, ahead: 0 }; Priority::BUCKETS],
        }
    }

    pub(in crate::proto) const fn used(&self) -> usize {
        self.used
    }

    pub(in crate::proto) fn reserved(&self) -> usize {
        self.reservation.as_ref().map_or(0, Reservation::bytes)
    }

    fn capacity(&self) -> usize {
        SEND_BASE.saturating_add(self.reserved())
    }

    /// Bytes that a stream of `priority`, which has `own` of them in the pool, may add now; it `wants` some.
    ///
    /// A stream gets half of what is free beyond what it has itself: busy ones always leave room for a small write of
    /// their bucket, and large writes are not split into crumbs.
    pub(in crate::proto) fn room(&self, priority: Priority, own: usize, wants: usize) -> usize {
        let room = self.free(priority.bucket()).saturating_sub(own).div_ceil(2);
        if room < wants.min(MIN_WRITE_ROOM) { 0 } else { room }
    }

    /// Bytes that a bucket may add: what is not used of its share, and of its own part at least (Y-MEM-6).
    fn free(&self, bucket: usize) -> usize {
        self.shared(bucket).max(self.own(bucket))
    }

    /// Bytes of a bucket's share that are not used. The shares below the highest leave more than the parts of all others
    /// free anyway.
    fn shared(&self, bucket: usize) -> usize {
        let mut share = Priority::level_of(bucket).threshold(self.capacity());
        if bucket == Priority::ALWAYS.bucket() {
            share = (0..bucket).fold(share, |share, other| share.saturating_sub(self.own(other)));
        }
        share.saturating_sub(self.used)
    }

    /// Bytes of a bucket's own part that are not used.
    fn own(&self, bucket: usize) -> usize {
        self.part().saturating_sub(self.by_bucket.get(bucket).copied().unwrap_or_default())
    }

    /// How much each bucket has for itself.
    fn part(&self) -> usize {
        self.capacity() / SEND_PARTS
    }

    /// Bytes by which the pool wants to be larger, for a writer of `priority` that found too little room.
    pub(in crate::proto) fn growth(&self, priority: Priority) -> Option<usize> {
        let capacity = self.capacity();
        let growth = capacity.min(self.max.saturating_sub(capacity));
        Some(growth).filter(|growth| *growth > 0 && !self.is_refused(priority))
    }

    /// More memory was refused at this priority.
    pub(in crate::proto) fn refuse(&mut self, priority: Priority) {
        self.refused = self.refused.max(Some(priority));
    }

    pub(in crate::proto) fn is_refused(&self, priority: Priority) -> bool {
        self.refused >= Some(priority)
    }

    /// Makes the pool larger; gives back what is beyond the maximum.
    pub(in crate::proto) fn grow(&mut self, mut reservation: Reservation) -> Option<Reservation> {
        let fits = self.max.saturating_sub(self.capacity());
        let beyond = reservation.bytes().saturating_sub(fits);
        let excess = (beyond > 0).then(|| reservation.split(beyond));
        match &mut self.reservation {
            Some(own) => own.merge(reservation),
            None => self.reservation = Some(reservation),
        }
        excess
    }

    /// `bytes` of a stream of `priority` were taken in.
    pub(in crate::proto) fn add(&mut self, priority: Priority, bytes: usize) {
        self.idle_since = None;
        self.used = self.used.saturating_add(bytes);
        more(&mut self.by_bucket, priority, bytes);
        let bucket = priority.bucket();
        if self.waiting.get(bucket).is_some_and(|waiting| !waiting.is_empty())
            && let Some(turn) = self.turns.get_mut(bucket)
        {
            turn.ahead = turn.ahead.saturating_add(1);
        }
        let free = self.capacity().saturating_sub(self.used);
        if self.free_chunks.len() > free {
            self.free_chunks.shrink(free);
        }
    }

    /// `bytes` of a stream of `priority` were put into a batch. It may be of another one when they have been written.
    pub(in crate::proto) fn encoded(&mut self, priority: Priority, bytes: usize) {
        more(&mut self.in_batch, priority, bytes);
    }

    /// `bytes` of a batch have been written to the transport.
    pub(in crate::proto) fn written(&mut self, bytes: usize) {
        let mut left = bytes;
        for (used, batch) in self.by_bucket.iter_mut().zip(&mut self.in_batch) {
            let gone = left.min(*batch);
            (*batch, *used, left) = (batch.saturating_sub(gone), used.saturating_sub(gone), left.saturating_sub(gone));
        }
        debug_assert_eq!(left, 0, "more was written than was cut");
        self.less(bytes);
    }

    /// `bytes` of a stream of `priority` were dropped before they were put into a batch.
    pub(in crate::proto) fn remove(&mut self, priority: Priority, bytes: usize) {
        less(&mut self.by_bucket, priority, bytes);
        self.less(bytes);
    }

    const fn less(&mut self, bytes: usize) {
        self.refused = None;
        self.used = self.used.saturating_sub(bytes);
    }

    /// A stream that has `bytes` here, and in no batch, is of another priority now.
    pub(in crate::proto) fn shift(&mut self, before: Priority, after: Priority, bytes: usize) {
        less(&mut self.by_bucket, before, bytes);
        more(&mut self.by_bucket, after, bytes);
    }

    /// There is nothing to send at the moment.
    pub(in crate::proto) fn idle(&mut self, now: Instant) {
        if self.used == 0 && (self.reservation.is_some() || self.free_chunks.len() > 0) {
            self.idle_since.get_or_insert(now);
        }
    }

    /// When what is reserved is to be given back, unless something is written before.
    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        self.idle_since.and_then(|since| since.checked_add(POOL_IDLE))
    }

    /// What is reserved and has not been needed for a while.
    pub(in crate::proto) fn handle_timeout(&mut self, now: Instant) -> Option<Reservation> {
        self.poll_timeout().filter(|at| now >= *at)?;
        self.idle_since = None;
        self.free_chunks.shrink(0);
        self.reservation.take()
    }

    /// Keeps chunks that were used, as far as there is capacity that nobody uses.
    pub(in crate::proto) fn recycle(&mut self, spent: impl IntoIterator<Item = Bytes>) {
        let most = self.capacity().saturating_sub(self.used);
        spent.into_iter().for_each(|bytes| self.free_chunks.put(bytes, most));
    }

    /// The same for a chunk that nobody else holds a part of.
    pub(in crate::proto) fn reuse(&mut self, mut chunk: BytesMut) {
        chunk.clear();
        self.free_chunks.keep(chunk, self.capacity().saturating_sub(self.used));
    }

    /// Whether a stream that was last written to at this turn waits for its next one: it has gone before those who wait, and
    /// enough others have. While nothing is buffered nobody waits, since there may be no other occasion to wake anybody.
    pub(in crate::proto) fn is_closed_to(&self, priority: Priority, last: u16) -> bool {
        let bucket = priority.bucket();
        let passed = |turn: &Turn| turn.ahead >= WRITES_AHEAD && turn.number == last;
        self.turns.get(bucket).is_some_and(passed)
            && self.used > 0
            && self.waiting.get(bucket).is_some_and(|waiting| !waiting.is_empty())
    }

    /// The turn at which a stream of this priority is written to now.
    pub(in crate::proto) fn turn(&self, priority: Priority) -> u16 {
        self.turns.get(priority.bucket()).map_or(0, |turn| turn.number)
    }

    /// A writer waits for room. One that was woken for some, and comes when others have had their turns, is the next.
    pub(in crate::proto) fn wait(&mut self, store: &mut Store, key: Key, priority: Priority) {
        let late = store.activate(key).is_some_and(|active| std::mem::take(&mut active.woken));
        if let Some(waiting) = self.waiting.get_mut(priority.bucket()) {
            if late {
                waiting.push_front(store, key)
            } else {
                waiting.push(store, key)
            };
        }
    }

    /// The writer waits no more, or not at this priority.
    pub(in crate::proto) fn leave(&mut self, store: &mut Store, key: Key, priority: Priority) {
        let bucket = priority.bucket();
        if let Some((waiting, turn)) = self.waiting.get_mut(bucket).zip(self.turns.get_mut(bucket))
            && waiting.remove(store, key)
        {
            *turn = Turn { number: turn.number.checked_add(1).unwrap_or(1), ahead: 0 };
        }
    }

    /// Begins to look for writers to wake.
    pub(in crate::proto) fn round(&self) -> Round {
        Round { next: self.waiting.each_ref().map(Queue::first), woken: [0; Priority::BUCKETS] }
    }

    /// The next writer to tell of the room that there is, the highest bucket first, and one of each bucket whose own part
    /// is free. When the pool is empty everyone is woken: there may be no other occasion.
    ///
    /// A writer keeps its place until it is served: else all who found no room would come again behind those who did, in
    /// the same order each time. One that was woken and has not come by the next round loses it.
    pub(in crate::proto) fn next_waiting(&mut self, store: &mut Store, round: &mut Round) -> Option<Key> {
        let expected =
            round.woken.iter().fold(0_usize, |sum, woken| sum.saturating_add(*woken)).saturating_mul(TYPICAL_WRITE);
        (0..Priority::BUCKETS).rev().find_map(|bucket| {
            let (next, woken) = round.next.get_mut(bucket).zip(round.woken.get_mut(bucket))?;
            // One writer gets half of what there is: where more is left than that, there is room for another.
            let own = *woken == 0 && self.own(bucket) > self.part() / 2;
            if !own && self.used > 0 && self.shared(bucket) <= expected {
                return None;
            }
            let waiting = self.waiting.get_mut(bucket)?;
            let key = (*next)?;
            *next = waiting.after(store, key);
            if let Some(active) = store.activate(key) {
                active.woken = true;
            }
            if store.get(key).is_some_and(|stream| stream.interest.contains(Readiness::WRITE)) {
                *woken = woken.saturating_add(1);
            } else {
                waiting.remove(store, key);
                store.release_if_idle(key);
            }
            Some(key)
        })
    }

    /// Forgets all bytes; gives back the reservation.
    pub(in crate::proto) fn clear(&mut self) -> Option<Reservation> {
        (self.used, self.refused, self.idle_since) = (0, None, None);
        (self.by_bucket, self.in_batch) = Default::default();
        self.free_chunks.shrink(0);
        self.reservation.take()
    }
}

fn more(sums: &mut [usize; Priority::BUCKETS], priority: Priority, bytes: usize) {
    if let Some(sum) = sums.get_mut(priority.bucket()) {
        *sum = sum.saturating_add(bytes);
    }
}

fn less(sums: &mut [usize; Priority::BUCKETS], priority: Priority, bytes: usize) {
    if let Some(sum) = sums.get_mut(priority.bucket()) {
        debug_assert!(*sum >= bytes, "bytes of another bucket");
        *sum = sum.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryLimit, MemoryManager};
    use quickcheck::quickcheck;
    use std::sync::Arc;

    fn reserve(bytes: usize) -> (Arc<MemoryLimit>, Reservation) {
        let limit = Arc::new(MemoryLimit::new(1 << 30));
        let manager: Arc<dyn MemoryManager> = limit.clone();
        (limit, Reservation::new(&manager, bytes, Priority::ALWAYS).expect("room"))
    }

    #[test]
    fn shares_keep_room_for_higher_buckets() {
        let mut pool = SendPool::new(SEND_BASE);
        for priority in [Priority::new(0), Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS] {
            let before = pool.used();
            while pool.room(priority, 0, MIN_WRITE_ROOM) > 0 {
                pool.add(priority, pool.room(priority, 0, MIN_WRITE_ROOM));
            }
            let share = Priority::level_of(priority.bucket()).threshold(SEND_BASE);
            assert!(
                pool.used() <= share && share - pool.used() < 2 * MIN_WRITE_ROOM,
                "{priority:?}: {} of {share}",
                pool.used()
            );
            assert!(pool.used() > before || priority == Priority::LOW, "{priority:?}");
        }
    }

    #[test]
    fn busy_streams_leave_room_for_a_small_write_of_their_bucket() {
        for streams in [1, 2, 5, 100] {
            let (mut pool, mut own) = (SendPool::new(SEND_BASE), vec![0; streams]);
            for turn in 0..1000 {
                let own = &mut own[turn % streams];
                let room = pool.room(Priority::MEDIUM, *own, SEND_BASE);
                pool.add(Priority::MEDIUM, room);
                *own += room;
            }
            assert!(pool.room(Priority::MEDIUM, 0, MIN_WRITE_ROOM / 2) >= MIN_WRITE_ROOM / 2, "beside {streams}");
        }
    }

    #[test]
    fn what_was_refused_is_not_asked_for_again_until_something_leaves() {
        let mut pool = SendPool::new(3 * SEND_BASE);
        pool.add(Priority::MEDIUM, SEND_BASE);
        pool.refuse(Priority::MEDIUM);
        pool.refuse(Priority::LOW);
        let asks =
            |pool: &SendPool| [Priority::LOW, Priority::MEDIUM, Priority::HIGH].map(|p| pool.growth(p).is_some());
        assert_eq!(asks(&pool), [false, false, true]);
        pool.remove(Priority::MEDIUM, 1);
        assert_eq!(asks(&pool), [true; 3]);
    }

    #[test]
    fn it_doubles_up_to_its_maximum_and_gives_the_rest_back() {
        let mut pool = SendPool::new(3 * SEND_BASE);
        assert_eq!(pool.growth(Priority::MEDIUM), Some(SEND_BASE));
        let (limit, reservation) = reserve(3 * SEND_BASE);
        let excess = pool.grow(reservation).expect("one base too much");
        assert_eq!((excess.bytes(), pool.capacity(), pool.growth(Priority::MEDIUM)), (SEND_BASE, 3 * SEND_BASE, None));
        drop(excess);
        let now = Instant::now();
        pool.add(Priority::LOW, 1);
        pool.idle(now);
        assert_eq!(pool.poll_timeout(), None);
        pool.remove(Priority::LOW, 1);
        pool.idle(now);
        assert!(pool.handle_timeout(now).is_none());
        pool.add(Priority::LOW, 1);
        pool.remove(Priority::LOW, 1);
        assert!(pool.handle_timeout(now + POOL_IDLE).is_none());
        pool.idle(now + POOL_IDLE);
        drop(pool.handle_timeout(now + 2 * POOL_IDLE));
        assert_eq!((limit.reserved(), pool.capacity(), pool.poll_timeout()), (0, SEND_BASE, None));
    }

    #[test]
    fn y_mem_6_each_bucket_has_a_part_that_no_other_takes() {
        const LEVELS: [Priority; 4] = [Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS];
        for fills in LEVELS {
            let mut pool = SendPool::new(SEND_BASE);
            while pool.room(fills, 0, 1) > 0 {
                pool.add(fills, pool.room(fills, 0, 1));
            }
            let part = SEND_BASE / SEND_PARTS;
            for other in LEVELS.into_iter().filter(|other| *other != fills) {
                assert!(pool.room(other, 0, 1) >= part / 2, "{other:?} beside {fills:?}");
                while pool.room(other, 0, 1) > 0 && pool.own(other.bucket()) > 0 {
                    pool.add(other, pool.room(other, 0, 1).min(pool.own(other.bucket())));
                }
            }
            assert!(pool.used() <= SEND_BASE, "{} beside {fills:?}", pool.used());
        }
    }

    #[test]
    fn y_mem_6_the_parts_grow_with_the_buffers() {
        let mut pool = SendPool::new(4 * SEND_BASE);
        assert_eq!(pool.part(), 4 * 1024);
        let (_limit, reservation) = reserve(3 * SEND_BASE);
        assert!(pool.grow(reservation).is_none());
        assert_eq!(pool.part(), 16 * 1024);
    }

    quickcheck! {
        /// Whoever writes, drops, cuts and changes its priority in whatever order: no more is used than there is, no bucket
        /// is without room while its own part is free, and in the end the sums are zero.
        fn y_mem_6_capacity_is_never_passed(steps: Vec<(u8, u8, u16)>) -> bool {
            let mut pool = SendPool::new(SEND_BASE);
            let mut queued = [0_usize; Priority::BUCKETS];
            let mut batch = 0;
            for (step, which, bytes) in steps {
                let bucket = usize::from(which) % Priority::BUCKETS;
                let (priority, bytes) = (Priority::level_of(bucket), usize::from(bytes));
                let own = bytes.min(queued[bucket]);
                match step % 5 {
                    0 | 1 => {
                        let room = pool.room(priority, 0, bytes).min(bytes);
                        pool.add(priority, room);
                        queued[bucket] += room;
                    }
                    2 => {
                        pool.encoded(priority, own);
                        (queued[bucket], batch) = (queued[bucket] - own, batch + own);
                    }
                    3 => {
                        pool.remove(priority, own);
                        queued[bucket] -= own;
                    }
                    _ => pool.written(std::mem::take(&mut batch)),
                }
                let kept: usize = (0..Priority::BUCKETS).map(|bucket| pool.own(bucket)).sum();
                if pool.used() + kept > SEND_BASE || pool.used() != batch + queued.iter().sum::<usize>() {
                    return false;
                }
            }
            pool.written(batch);
            (0..).zip(queued).for_each(|(bucket, bytes)| pool.remove(Priority::level_of(bucket), bytes));
            pool.used() == 0 && pool.by_bucket == [0; Priority::BUCKETS] && pool.in_batch == [0; Priority::BUCKETS]
        }
    }
}
