//! Owns [`SendPool`]: the memory of a connection's send buffers, how much of it each bucket may use, and the writers
//! that wait for room.
//!
//! Bytes in the pool are covered by the peer's credit (Y-SEND-1), so they wait for the transport or the pacer only. The
//! first 64 KiB need no reservation, so that a connection makes progress however full the budget is (Y-MEM-5). Each
//! bucket may fill a share of the pool, as of the budget, so that low buckets never block a high one; and a part is set
//! aside for each bucket, so that high buckets never block a low one (Y-MEM-6). Unused capacity holds the free list of
//! chunks. Never asks the memory manager itself.

use crate::counting::{count_down, count_up};
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

/// Bytes that a writer is assumed to want when it is woken: one frame of the default `max_message_size`.
const TYPICAL_WRITE: usize = 16 * 1024;

/// The least room that is given to a write that wants more, in bytes. It is the least `max_message_size`: a smaller
/// frame is mostly header and turn (silly window).
const MIN_WRITE_ROOM: usize = 1024;

#[derive(Debug)]
pub(in crate::proto) struct SendPool {
    used: usize,
    lanes: [Lane; Priority::BUCKETS],
    max: usize,
    reservation: Option<Reservation>,
    /// Bytes that may be used: the base and the reservation.
    capacity: usize,
    /// Bytes of the capacity that belong to each bucket alone.
    part: usize,
    /// The highest priority at which more memory has been refused since bytes last left the pool. Until bytes leave,
    /// the memory manager is not asked again: a writer that is polled in vain would ask each time.
    refused: Option<Priority>,
    /// Since when the pool has been empty, while memory is reserved.
    idle_since: Option<Instant>,
    /// The free list of chunks, in capacity that is not used.
    pub(in crate::proto) free_chunks: ChunkPool,
}

/// One bucket's use of the pool.
#[derive(Debug)]
struct Lane {
    /// Bytes in use by its streams.
    used: usize,
    /// Bytes of `used` that are encoded and not written to the transport yet.
    in_batch: u32,
    /// Bytes in the whole pool from which on this bucket may only use its own part.
    share: u32,
    /// Writers that wait for room. Each is queued once, however often it asks, until it is served.
    waiting: Queue<RoomPlace>,
    turn: Turn,
}

/// Whose turn it is among the waiting writers of a bucket.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Number of the turn, modulo 65,535. It is never 0, which marks a stream that was not written to.
    number: u16,
    /// Writes of other streams that were accepted in this turn.
    ahead: u8,
}

/// A pass over the waiting writers: the next one of each bucket, and how many were woken.
#[derive(Debug)]
pub(in crate::proto) struct Round {
    next: [Option<Key>; Priority::BUCKETS],
    woken: [usize; Priority::BUCKETS],
}

impl SendPool {
    pub(in crate::proto) fn new(max: usize) -> Self {
        let turn = Turn { number: 1, ahead: 0 };
        let lane = |_| Lane { used: 0, in_batch: 0, share: 0, waiting: Queue::new(), turn };
        let mut pool = Self {
            used: 0,
            lanes: std::array::from_fn(lane),
            max: max.max(SEND_BASE),
            reservation: None,
            capacity: 0,
            part: 0,
            refused: None,
            idle_since: None,
            free_chunks: ChunkPool::default(),
        };
        pool.measure();
        pool
    }

    pub(in crate::proto) const fn used(&self) -> usize {
        self.used
    }

    pub(in crate::proto) fn reserved(&self) -> usize {
        self.reservation.as_ref().map_or(0, Reservation::bytes)
    }

    /// Recomputes what follows from the reservation, since each write uses it.
    fn measure(&mut self) {
        self.capacity = count_up(SEND_BASE, self.reserved());
        self.part = self.capacity / SEND_PARTS;
        for (bucket, lane) in self.lanes.iter_mut().enumerate() {
            lane.share = u32::try_from(Priority::level_of(bucket).threshold(self.capacity)).unwrap_or(u32::MAX);
        }
    }

    /// Bytes that a stream may add now. It is of this bucket, has `own` bytes in the pool and wants to write `wants`.
    ///
    /// A stream gets half of the free room beyond what it has itself. So busy streams always leave room for a small
    /// write of their bucket, and large writes are not split into tiny ones.
    pub(in crate::proto) fn room(&self, bucket: usize, own: usize, wants: usize) -> usize {
        let Some(lane) = self.lanes.get(bucket) else { return 0 };
        // The unused rest of its share, and at least that of its own part (Y-MEM-6).
        let free = self.shared(bucket, lane).max(self.part.saturating_sub(lane.used));
        let room = free.saturating_sub(own).div_ceil(2);
        if room < wants.min(MIN_WRITE_ROOM) { 0 } else { room }
    }

    /// Unused bytes of a bucket's share. The shares below the highest always leave more free than the parts of all
    /// other buckets.
    fn shared(&self, bucket: usize, lane: &Lane) -> usize {
        let mut share = lane.share as usize;
        if bucket == Priority::ALWAYS.bucket() {
            let others = self.lanes.iter().take(bucket);
            share = others.fold(share, |share, other| share.saturating_sub(self.part.saturating_sub(other.used)));
        }
        share.saturating_sub(self.used)
    }

    /// Bytes by which the pool should grow, for a writer of `priority` that found too little room.
    pub(in crate::proto) fn growth(&self, priority: Priority) -> Option<usize> {
        let growth = self.capacity.min(self.max.saturating_sub(self.capacity));
        Some(growth).filter(|growth| *growth > 0 && !self.is_refused(priority))
    }

    /// The memory manager has refused more memory at this priority.
    pub(in crate::proto) fn refuse(&mut self, priority: Priority) {
        self.refused = self.refused.max(Some(priority));
    }

    pub(in crate::proto) fn is_refused(&self, priority: Priority) -> bool {
        self.refused >= Some(priority)
    }

    /// Grows the pool; returns the part of the reservation beyond the maximum.
    pub(in crate::proto) fn grow(&mut self, mut reservation: Reservation) -> Option<Reservation> {
        let fits = self.max.saturating_sub(self.capacity);
        let beyond = reservation.bytes().saturating_sub(fits);
        let excess = (beyond > 0).then(|| reservation.split(beyond));
        match &mut self.reservation {
            Some(own) => own.merge(reservation),
            None => self.reservation = Some(reservation),
        }
        self.measure();
        excess
    }

    /// A stream of this bucket has written `bytes`.
    pub(in crate::proto) fn add(&mut self, bucket: usize, bytes: usize) {
        self.idle_since = None;
        self.used = count_up(self.used, bytes);
        let free = self.capacity.saturating_sub(self.used);
        if self.free_chunks.len() > free {
            self.free_chunks.shrink(free);
        }
        let Some(lane) = self.lanes.get_mut(bucket) else { return };
        lane.used = count_up(lane.used, bytes);
        if !lane.waiting.is_empty() {
            lane.turn.ahead = lane.turn.ahead.saturating_add(1);
        }
    }

    fn lane(&mut self, priority: Priority) -> Option<&mut Lane> {
        self.lanes.get_mut(priority.bucket())
    }

    /// `bytes` of a stream of `priority` were encoded into a batch. The stream's priority may be another one by the
    /// time they are written.
    pub(in crate::proto) fn encoded(&mut self, priority: Priority, bytes: usize) {
        if let Some(lane) = self.lane(priority) {
            lane.in_batch = count_up(lane.in_batch, u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    /// `bytes` of a batch have been written to the transport.
    pub(in crate::proto) fn written(&mut self, bytes: usize) {
        let mut left = bytes;
        for lane in &mut self.lanes {
            let gone = left.min(lane.in_batch as usize);
            lane.in_batch = count_down(lane.in_batch, u32::try_from(gone).unwrap_or(u32::MAX));
            lane.less(gone);
            left = count_down(left, gone);
        }
        debug_assert_eq!(left, 0, "more was written than was encoded");
        self.less(bytes);
    }

    /// `bytes` of a stream of `priority` were dropped before they were encoded.
    pub(in crate::proto) fn remove(&mut self, priority: Priority, bytes: usize) {
        self.lane(priority).into_iter().for_each(|lane| lane.less(bytes));
        self.less(bytes);
    }

    fn less(&mut self, bytes: usize) {
        self.refused = None;
        self.used = count_down(self.used, bytes);
    }

    /// The priority of a stream has changed. It has `bytes` in the pool, and none of them in a batch.
    pub(in crate::proto) fn shift(&mut self, before: Priority, after: Priority, bytes: usize) {
        self.lane(before).into_iter().for_each(|lane| lane.less(bytes));
        self.lane(after).into_iter().for_each(|lane| lane.used = count_up(lane.used, bytes));
    }

    /// The connection has nothing to send: starts the timer that gives the reservation back.
    pub(in crate::proto) fn idle(&mut self, now: Instant) {
        if self.used == 0 && (self.reservation.is_some() || self.free_chunks.len() > 0) {
            self.idle_since.get_or_insert(now);
        }
    }

    /// When the reservation is to be given back, unless something is written before.
    pub(in crate::proto) fn poll_timeout(&self) -> Option<Instant> {
        self.idle_since.and_then(|since| since.checked_add(POOL_IDLE))
    }

    /// Takes the reservation once it has not been needed for a while.
    pub(in crate::proto) fn handle_timeout(&mut self, now: Instant) -> Option<Reservation> {
        self.poll_timeout().filter(|at| now >= *at)?;
        self.idle_since = None;
        self.free_chunks.shrink(0);
        self.take_reservation()
    }

    fn take_reservation(&mut self) -> Option<Reservation> {
        let reservation = self.reservation.take();
        self.measure();
        reservation
    }

    /// Puts used chunks on the free list, as far as there is unused capacity.
    pub(in crate::proto) fn recycle(&mut self, spent: impl IntoIterator<Item = Bytes>) {
        let most = self.capacity.saturating_sub(self.used);
        spent.into_iter().for_each(|bytes| self.free_chunks.put(bytes, most));
    }

    /// The same for a chunk that has no other holder.
    pub(in crate::proto) fn reuse(&mut self, mut chunk: BytesMut) {
        chunk.clear();
        self.free_chunks.keep(chunk, self.capacity.saturating_sub(self.used));
    }

    /// Whether a stream that was last written to in turn `last` must wait for the next turn: it has been served in this
    /// one, and enough other writes were accepted ahead of the waiting writers. An empty pool keeps no stream waiting,
    /// since nothing might ever wake it.
    pub(in crate::proto) fn is_closed_to(&self, bucket: usize, last: u16) -> bool {
        let passed = |turn: Turn| turn.ahead >= WRITES_AHEAD && turn.number == last;
        // Most often no writer waits.
        let lane = self.lanes.get(bucket).filter(|lane| !lane.waiting.is_empty());
        lane.is_some_and(|lane| passed(lane.turn)) && self.used > 0
    }

    /// The present turn of a bucket.
    pub(in crate::proto) fn turn(&self, bucket: usize) -> u16 {
        self.lanes.get(bucket).map_or(0, |lane| lane.turn.number)
    }

    /// Queues a writer that waits for room. A writer that was woken, and polls after others have used up the room, goes
    /// to the front.
    pub(in crate::proto) fn wait(&mut self, store: &mut Store, key: Key, priority: Priority) {
        let late = store.activate(key).is_some_and(|active| std::mem::take(&mut active.woken));
        if let Some(lane) = self.lane(priority) {
            if late {
                lane.waiting.push_front(store, key)
            } else {
                lane.waiting.push(store, key)
            };
        }
    }

    /// The writer waits no longer, or not at this priority.
    pub(in crate::proto) fn leave(&mut self, store: &mut Store, key: Key, priority: Priority) {
        if let Some(lane) = self.lane(priority)
            && lane.waiting.remove(store, key)
        {
            lane.turn = Turn { number: lane.turn.number.checked_add(1).unwrap_or(1), ahead: 0 };
        }
    }

    /// Starts a pass over the waiting writers.
    pub(in crate::proto) fn round(&self) -> Round {
        Round { next: self.lanes.each_ref().map(|lane| lane.waiting.first()), woken: [0; Priority::BUCKETS] }
    }

    /// The next writer to wake: the highest bucket first, and one writer of each bucket whose own part is free. When
    /// the pool is empty every writer is woken, since nothing else might wake it.
    ///
    /// A writer keeps its place in the queue until it is served. Otherwise the writers that found no room would queue
    /// again behind those that did, in the same order each time. A writer that was woken and has not polled by the next
    /// pass loses its place.
    pub(in crate::proto) fn next_waiting(&mut self, store: &mut Store, round: &mut Round) -> Option<Key> {
        let expected =
            round.woken.iter().fold(0_usize, |sum, woken| sum.saturating_add(*woken)).saturating_mul(TYPICAL_WRITE);
        (0..Priority::BUCKETS).rev().find_map(|bucket| {
            let (next, woken) = round.next.get_mut(bucket).zip(round.woken.get_mut(bucket))?;
            // One writer gets half of the free room. Where more is left than that, there is room for another.
            let lane = self.lanes.get(bucket)?;
            let own = *woken == 0 && self.part.saturating_sub(lane.used) > self.part / 2;
            if !own && self.used > 0 && self.shared(bucket, lane) <= expected {
                return None;
            }
            let waiting = &mut self.lanes.get_mut(bucket)?.waiting;
            let key = (*next)?;
            *next = waiting.after(store, key);
            if let Some(active) = store.activate(key) {
                active.woken = true;
            }
            if store.get(key).is_some_and(|stream| stream.interest.contains(Readiness::WRITE)) {
                *woken = count_up(*woken, 1);
            } else {
                waiting.remove(store, key);
                store.release_if_idle(key);
            }
            Some(key)
        })
    }

    /// Forgets all bytes; returns the reservation.
    pub(in crate::proto) fn clear(&mut self) -> Option<Reservation> {
        (self.used, self.refused, self.idle_since) = (0, None, None);
        self.lanes.iter_mut().for_each(|lane| (lane.used, lane.in_batch) = (0, 0));
        self.free_chunks.shrink(0);
        self.take_reservation()
    }
}

impl Lane {
    fn less(&mut self, bytes: usize) {
        debug_assert!(self.used >= bytes, "bytes of another bucket");
        self.used = count_down(self.used, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryLimit, MemoryManager};
    use quickcheck::quickcheck;
    use std::sync::Arc;

    /// Bytes of a bucket's own part that are not used.
    fn own(pool: &SendPool, bucket: usize) -> usize {
        pool.part.saturating_sub(pool.lanes[bucket].used)
    }

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
            while pool.room(priority.bucket(), 0, MIN_WRITE_ROOM) > 0 {
                pool.add(priority.bucket(), pool.room(priority.bucket(), 0, MIN_WRITE_ROOM));
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
                let room = pool.room(Priority::MEDIUM.bucket(), *own, SEND_BASE);
                pool.add(Priority::MEDIUM.bucket(), room);
                *own += room;
            }
            assert!(
                pool.room(Priority::MEDIUM.bucket(), 0, MIN_WRITE_ROOM / 2) >= MIN_WRITE_ROOM / 2,
                "beside {streams}"
            );
        }
    }

    #[test]
    fn what_was_refused_is_not_asked_for_again_until_something_leaves() {
        let mut pool = SendPool::new(3 * SEND_BASE);
        pool.add(Priority::MEDIUM.bucket(), SEND_BASE);
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
        assert_eq!((excess.bytes(), pool.capacity, pool.growth(Priority::MEDIUM)), (SEND_BASE, 3 * SEND_BASE, None));
        drop(excess);
        let now = Instant::now();
        pool.add(Priority::LOW.bucket(), 1);
        pool.idle(now);
        assert_eq!(pool.poll_timeout(), None);
        pool.remove(Priority::LOW, 1);
        pool.idle(now);
        assert!(pool.handle_timeout(now).is_none());
        pool.add(Priority::LOW.bucket(), 1);
        pool.remove(Priority::LOW, 1);
        assert!(pool.handle_timeout(now + POOL_IDLE).is_none());
        pool.idle(now + POOL_IDLE);
        drop(pool.handle_timeout(now + 2 * POOL_IDLE));
        assert_eq!((limit.reserved(), pool.capacity, pool.poll_timeout()), (0, SEND_BASE, None));
    }

    #[test]
    fn y_mem_6_each_bucket_has_a_part_that_no_other_takes() {
        const LEVELS: [Priority; 4] = [Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS];
        for fills in LEVELS {
            let mut pool = SendPool::new(SEND_BASE);
            while pool.room(fills.bucket(), 0, 1) > 0 {
                pool.add(fills.bucket(), pool.room(fills.bucket(), 0, 1));
            }
            let part = SEND_BASE / SEND_PARTS;
            for other in LEVELS.into_iter().filter(|other| *other != fills) {
                assert!(pool.room(other.bucket(), 0, 1) >= part / 2, "{other:?} beside {fills:?}");
                while pool.room(other.bucket(), 0, 1) > 0 && own(&pool, other.bucket()) > 0 {
                    pool.add(other.bucket(), pool.room(other.bucket(), 0, 1).min(own(&pool, other.bucket())));
                }
            }
            assert!(pool.used() <= SEND_BASE, "{} beside {fills:?}", pool.used());
        }
    }

    #[test]
    fn y_mem_6_the_parts_grow_with_the_buffers() {
        let mut pool = SendPool::new(4 * SEND_BASE);
        assert_eq!(pool.part, 4 * 1024);
        let (_limit, reservation) = reserve(3 * SEND_BASE);
        assert!(pool.grow(reservation).is_none());
        assert_eq!(pool.part, 16 * 1024);
    }

    quickcheck! {
        /// Writes, drops, encodes and changes of priority in any order: no more is used than the capacity, no bucket is
        /// without room while its own part is free, and in the end the sums are zero.
        fn y_mem_6_capacity_is_never_passed(steps: Vec<(u8, u8, u16)>) -> bool {
            let mut pool = SendPool::new(SEND_BASE);
            let mut queued = [0_usize; Priority::BUCKETS];
            let mut batch = 0;
            for (step, which, bytes) in steps {
                let bucket = usize::from(which) % Priority::BUCKETS;
                let (priority, bytes) = (Priority::level_of(bucket), usize::from(bytes));
                let some = bytes.min(queued[bucket]);
                match step % 5 {
                    0 | 1 => {
                        let room = pool.room(priority.bucket(), 0, bytes).min(bytes);
                        pool.add(priority.bucket(), room);
                        queued[bucket] += room;
                    }
                    2 => {
                        pool.encoded(priority, some);
                        (queued[bucket], batch) = (queued[bucket] - some, batch + some);
                    }
                    3 => {
                        pool.remove(priority, some);
                        queued[bucket] -= some;
                    }
                    _ => pool.written(std::mem::take(&mut batch)),
                }
                let kept: usize = (0..Priority::BUCKETS).map(|bucket| own(&pool, bucket)).sum();
                if pool.used() + kept > SEND_BASE || pool.used() != batch + queued.iter().sum::<usize>() {
                    return false;
                }
            }
            pool.written(batch);
            (0..).zip(queued).for_each(|(bucket, bytes)| pool.remove(Priority::level_of(bucket), bytes));
            pool.used() == 0 && pool.lanes.iter().all(|lane| (lane.used, lane.in_batch) == (0, 0))
        }
    }
}
