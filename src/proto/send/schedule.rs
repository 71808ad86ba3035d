//! Owns [`Schedule`]: which stream sends next.
//!
//! Each bucket has one queue. The highest waiting bucket goes first. Inside a bucket streams take turns, one frame each
//! (round robin). A bucket that has waited through [`STARVATION_BYTES`] of higher ones gets a turn (Y-PRIO-2,
//! Y-PRIO-3).

use crate::counting::count_up;
use crate::priority::Priority;
use crate::proto::key::Key;
use crate::proto::limits::STARVATION_BYTES;
use crate::proto::store::Store;
use crate::proto::store::queue::{DataPlace, Queue};

#[derive(Debug)]
pub(in crate::proto) struct Schedule {
    buckets: [Bucket; Priority::BUCKETS],
}

#[derive(Debug)]
struct Bucket {
    queue: Queue<DataPlace>,
    /// Bytes that higher buckets have sent while this one waited.
    waited: u32,
}

impl Schedule {
    pub(in crate::proto) fn new() -> Self {
        Self { buckets: std::array::from_fn(|_| Bucket { queue: Queue::new(), waited: 0 }) }
    }

    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.queue.is_empty())
    }

    /// Whether a stream of a higher bucket than that of `usual` waits.
    pub(in crate::proto) fn is_urgent(&self, usual: Priority) -> bool {
        self.buckets.iter().skip(count_up(usual.bucket(), 1)).any(|bucket| !bucket.queue.is_empty())
    }

    /// Whether a stream of a lower bucket than that of `priority` waits.
    pub(in crate::proto) fn waits_below(&self, priority: Priority) -> bool {
        self.buckets.iter().take(priority.bucket()).any(|bucket| !bucket.queue.is_empty())
    }

    /// Queues a stream at the end of its bucket, if it is not queued.
    pub(in crate::proto) fn push(&mut self, store: &mut Store, key: Key, priority: Priority) {
        if let Some(bucket) = self.buckets.get_mut(priority.bucket()) {
            bucket.queue.push(store, key);
        }
    }

    /// Removes a stream from the bucket of `priority`; returns whether it was there.
    pub(in crate::proto) fn remove(&mut self, store: &mut Store, key: Key, priority: Priority) -> bool {
        self.buckets.get_mut(priority.bucket()).is_some_and(|bucket| bucket.queue.remove(store, key))
    }

    /// Takes the stream whose turn it is. A stream that is less urgent than `least` gets no turn unless its bucket is
    /// starved.
    pub(in crate::proto) fn pop(&mut self, store: &mut Store, least: Option<Priority>) -> Option<Key> {
        let waiting = || self.buckets.iter().enumerate().filter(|(_, bucket)| !bucket.queue.is_empty());
        let starved = waiting().find(|(_, bucket)| bucket.waited >= STARVATION_BYTES);
        let least = least.map_or(0, Priority::bucket);
        let (index, _) = starved.or_else(|| waiting().next_back().filter(|(index, _)| *index >= least))?;
        let bucket = self.buckets.get_mut(index)?;
        bucket.waited = 0;
        bucket.queue.pop(store)
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
    }

    impl Bench {
        fn new(priorities: &[Priority]) -> (Self, Vec<Key>) {
            let manager: Arc<dyn MemoryManager> = Arc::new(Unlimited);
            let mut bench = Self { store: Store::new(IdHash::new(3)), schedule: Schedule::new() };
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
                let key = self.schedule.pop(&mut self.store, None).expect("busy");
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
