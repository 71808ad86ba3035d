//! Owns [`Schedule`]: which stream sends next.
//!
//! Each bucket has one queue. The highest waiting bucket goes first. Inside a bucket streams take turns, one frame each
//! (round robin). A bucket that has waited through [`STARVATION_BYTES`] of higher ones gets a turn (Y-PRIO-2,
//! Y-PRIO-3).

use crate::counting::count_up;
use crate::priority::Priority;
use crate::proto::key::Key;
use crate::proto::limits::{STARVATION_BYTES, STARVATION_TIME};
use crate::proto::store::Store;
use crate::proto::store::queue::{DataPlace, Queue};
use web_time::Instant;

#[derive(Debug)]
pub(in crate::proto) struct Schedule {
    buckets: [Bucket; Priority::BUCKETS],
    /// Since when each bucket has waited, as far as turns have been given since. In a box, since few connections have several
    /// buckets that wait at a time.
    since: Option<Box<[Option<Instant>; Priority::BUCKETS]>>,
}

#[derive(Debug)]
struct Bucket {
    queue: Queue<DataPlace>,
    /// Bytes that higher buckets have sent while this one waited.
    waited: u32,
}

impl Schedule {
    pub(in crate::proto) fn new() -> Self {
        Self { buckets: std::array::from_fn(|_| Bucket { queue: Queue::new(), waited: 0 }), since: None }
    }

    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.queue.is_empty())
    }

    /// Whether a stream of a higher bucket than that of `usual` waits.
    pub(in crate::proto) fn is_urgent(&self, usual: Priority) -> bool {
        self.buckets.iter().skip(count_up(usual.bucket(), 1)).any(|bucket| !bucket.queue.is_empty())
    }

    /// Whether a stream of a bucket below `top` waits.
    pub(in crate::proto) fn waits_below(&self, top: usize) -> bool {
        self.buckets.iter().take(top).any(|bucket| !bucket.queue.is_empty())
    }

    /// Queues a stream at the end of its bucket, if it is not queued.
    pub(in crate::proto) fn push(&mut self, store: &mut Store, key: Key, priority: Priority) {
        if let Some(bucket) = self.buckets.get_mut(priority.bucket()) {
            bucket.queue.push(store, key);
        }
    }

    /// Removes a stream from the bucket of `priority`; returns whether it was there.
    pub(in crate::proto) fn remove(&mut self, store: &mut Store, key: Key, priority: Priority) -> bool {
        let index = priority.bucket();
        let removed = self.buckets.get_mut(index).is_some_and(|bucket| bucket.queue.remove(store, key));
        self.waits_from(index, None);
        removed
    }

    /// The bucket has waited since then, or as long as is known, if a stream waits in it.
    fn waits_from(&mut self, index: usize, since: Option<Instant>) {
        let waits = self.buckets.get(index).is_some_and(|bucket| !bucket.queue.is_empty());
        if let Some(own) = self.since.as_mut().and_then(|all| all.get_mut(index)) {
            *own = since.or(*own).filter(|_| waits);
        }
    }

    /// Whether the bucket has waited for too long.
    fn is_overdue(&self, index: usize, now: Instant) -> bool {
        let since = self.since.as_ref().and_then(|all| all.get(index).copied().flatten());
        since.is_some_and(|since| now.saturating_duration_since(since) >= STARVATION_TIME)
    }

    /// Takes the stream whose turn it is. A stream of a bucket below `least` gets no turn unless its bucket is starved.
    pub(in crate::proto) fn pop(&mut self, store: &mut Store, least: usize, now: Instant) -> Option<Key> {
        let waiting = || self.buckets.iter().enumerate().filter(|(_, bucket)| !bucket.queue.is_empty());
        if self.since.is_none() && waiting().nth(1).is_some() {
            self.since = Some(Box::default());
        }
        for index in 0..if self.since.is_some() { Priority::BUCKETS } else { 0 } {
            let since = self.since.as_ref().and_then(|all| all.get(index).copied().flatten());
            self.waits_from(index, since.or(Some(now)));
        }
        let waiting = || self.buckets.iter().enumerate().filter(|(_, bucket)| !bucket.queue.is_empty());
        // Y-PRIO-3.
        let is_starved =
            |(index, bucket): &(usize, &Bucket)| bucket.waited >= STARVATION_BYTES || self.is_overdue(*index, now);
        let turn = waiting().find(is_starved).or_else(|| waiting().next_back().filter(|(index, _)| *index >= least));
        let (index, _) = turn?;
        let bucket = self.buckets.get_mut(index)?;
        bucket.waited = 0;
        let key = bucket.queue.pop(store);
        self.waits_from(index, Some(now));
        key
    }

    /// Gives waiting buckets below `top` their turn, where they have waited for too long; returns whether any has.
    pub(in crate::proto) fn handle_timeout(&mut self, top: usize, now: Instant) -> bool {
        let mut any = false;
        for index in 0..top {
            if !self.is_overdue(index, now) {
                continue;
            }
            if let (Some(bucket), Some(all)) = (self.buckets.get_mut(index), &mut self.since) {
                bucket.waited = STARVATION_BYTES;
                all.get_mut(index).into_iter().for_each(|since| *since = None);
                any = true;
            }
        }
        any
    }

    /// When the first waiting bucket below `top` is starved, in time.
    pub(in crate::proto) fn starves_at(&self, top: usize) -> Option<Instant> {
        let since = self.since.as_ref()?.iter().take(top).flatten();
        since.filter_map(|since| since.checked_add(STARVATION_TIME)).min()
    }

    /// Frees storage that only a busy connection uses.
    pub(in crate::proto) fn release_if_idle(&mut self) {
        if self.is_empty() {
            self.since = None;
        }
    }

    /// Records that a stream of `priority` has sent `bytes`.
    pub(in crate::proto) fn sent(&mut self, priority: Priority, bytes: u32) {
        for bucket in self.buckets.iter_mut().take(priority.bucket()) {
            bucket.waited = if bucket.queue.is_empty() { 0 } else { bucket.waited.saturating_add(bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryManager, Reservation, Unlimited};
    use crate::proto::store::id_hash::IdHash;
    use crate::proto::stream::{Handshake, Stream};
    use crate::wire::StreamId;
    use std::sync::Arc;

    const FRAME: u32 = 16 * 1024;

    struct Bench {
        store: Store,
        schedule: Schedule,
        now: Instant,
    }

    impl Bench {
        fn new(priorities: &[Priority]) -> (Self, Vec<Key>) {
            let manager: Arc<dyn MemoryManager> = Arc::new(Unlimited);
            let mut bench = Self { store: Store::new(IdHash::new(3)), schedule: Schedule::new(), now: Instant::now() };
            let keys = (1..).zip(priorities).map(|(id, priority)| {
                let reservation = Reservation::new(&manager, 1, Priority::ALWAYS).expect("unlimited");
                let id = StreamId::new(id).expect("not zero");
                let key = bench.store.insert(Stream::new(id, Handshake::Done, *priority, 0, reservation));
                bench.schedule.push(&mut bench.store, key, *priority);
                key
            });
            let keys = keys.collect();
            (bench, keys)
        }

        /// Keeps every stream busy; returns the order in which they send.
        fn run(&mut self, turns: usize, keys: &[Key]) -> Vec<usize> {
            let mut order = Vec::new();
            for _ in 0..turns {
                let key = self.schedule.pop(&mut self.store, 0, self.now).expect("busy");
                let priority = self.store.get(key).expect("there").priority;
                self.schedule.push(&mut self.store, key, priority);
                self.schedule.sent(priority, FRAME);
                order.push(keys.iter().position(|other| *other == key).expect("known"));
            }
            order
        }
    }

    #[test]
    fn streams_of_one_bucket_take_turns() {
        let (mut bench, keys) = Bench::new(&[Priority::MEDIUM; 3]);
        assert_eq!(bench.run(7, &keys), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn the_higher_bucket_goes_first_and_the_lower_one_is_not_starved() {
        let (mut bench, keys) = Bench::new(&[Priority::LOW, Priority::HIGH]);
        let order = bench.run(200, &keys);
        let low: Vec<_> = order.iter().enumerate().filter(|(_, who)| **who == 0).map(|(turn, _)| turn).collect();
        let period = (STARVATION_BYTES / FRAME) as usize + 1;
        let expected: Vec<_> = (0..).map(|n| period * (n + 1) - 1).take_while(|turn| *turn < 200).collect();
        assert_eq!(low, expected);
    }

    #[test]
    fn y_prio_3_a_bucket_waits_for_a_second_at_most() {
        let (mut bench, keys) = Bench::new(&[Priority::LOW, Priority::HIGH]);
        let order = |bench: &mut Bench| bench.run(1, &keys)[0];
        assert_eq!([order(&mut bench), order(&mut bench)], [1, 1]);
        bench.now += STARVATION_TIME;
        assert_eq!([order(&mut bench), order(&mut bench)], [0, 1]);
        // A time in which nothing waited does not count.
        for (key, priority) in keys.iter().zip([Priority::LOW, Priority::HIGH]) {
            bench.schedule.remove(&mut bench.store, *key, priority);
        }
        bench.now += STARVATION_TIME * 2;
        for (key, priority) in keys.iter().zip([Priority::LOW, Priority::HIGH]) {
            bench.schedule.push(&mut bench.store, *key, priority);
        }
        assert_eq!(order(&mut bench), 1);
        // Streams below the top are told of by a timer, once.
        bench.now += STARVATION_TIME;
        assert_eq!(bench.schedule.starves_at(2), Some(bench.now));
        assert!(bench.schedule.handle_timeout(2, bench.now) && !bench.schedule.handle_timeout(2, bench.now));
        assert_eq!((bench.schedule.starves_at(2), order(&mut bench)), (None, 0));
    }

    #[test]
    fn no_bucket_of_four_waits_for_ever() {
        let (mut bench, keys) = Bench::new(&[Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS]);
        let order = bench.run(400, &keys);
        let counts: Vec<_> = (0..4).map(|who| order.iter().filter(|other| **other == who).count()).collect();
        assert!(counts.iter().all(|count| *count >= 20), "{counts:?}");
        assert!(counts[3] > 300, "{counts:?}");
    }

    #[test]
    fn values_between_the_levels_share_their_buckets() {
        let (mut bench, keys) = Bench::new(&[Priority::new(0), Priority::LOW, Priority::new(153), Priority::HIGH]);
        assert_eq!(bench.run(4, &keys), [2, 3, 2, 3]);
    }
}
