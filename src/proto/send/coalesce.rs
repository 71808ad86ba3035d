//! Owns [`PendingReaders`]: how many readers have new data and may be about to write, for the coalescing of small
//! writes.
//!
//! The executor runs the driver right after the first task that writes. Tasks of other streams that were woken to read
//! may be about to write as well: if the driver waits for them, one write to the transport carries the frames of all.
//! `mux/outbound` decides when it waits.
//!
//! Measured on loopback: `rr100` 205,000 to 316,000 requests a second, `rr1000` 225,000 to 270,000 (docs/performance.md).
//! Not measured off loopback.

use crate::counting::count_up;
use crate::proto::stream::Stream;

/// Streams with data that their readers have not looked at. The count is lower once a batch has waited for them in
/// vain.
#[derive(Debug, Default)]
pub(in crate::proto) struct PendingReaders(u32);

impl PendingReaders {
    /// The stream has new data to read.
    pub(in crate::proto) fn begin(&mut self, stream: &mut Stream) {
        if let Some(active) = &mut stream.active
            && !std::mem::replace(&mut active.reader_pending, true)
        {
            self.0 = count_up(self.0, 1);
        }
    }

    /// The reader has looked, or the stream has none.
    pub(in crate::proto) fn end(&mut self, stream: &mut Stream) {
        if let Some(active) = &mut stream.active
            && std::mem::take(&mut active.reader_pending)
        {
            // Those that were forgotten are not in the count.
            self.0 = self.0.saturating_sub(1);
        }
    }

    /// Whether there are pending readers.
    pub(in crate::proto) const fn any(&self) -> bool {
        self.0 > 0
    }

    /// A batch has waited for pending readers in vain. Half of them count as busy with something else, so that they
    /// delay no more than a few batches.
    pub(in crate::proto) const fn forget_half(&mut self) {
        self.0 /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryLimit, Reservation};
    use crate::priority::Priority;
    use crate::proto::key::Key;
    use crate::proto::store::Store;
    use crate::proto::store::id_hash::IdHash;
    use crate::proto::stream::Handshake;
    use crate::wire::StreamId;
    use std::sync::Arc;

    struct Bench {
        store: Store,
        pending: PendingReaders,
    }

    impl Bench {
        fn new() -> Self {
            Self { store: Store::new(IdHash::new(1)), pending: PendingReaders::default() }
        }

        fn idle_stream(&mut self, id: u32) -> Key {
            let reservation = Reservation::new(&(Arc::new(MemoryLimit::new(0)) as _), 0, Priority::MEDIUM);
            let (id, reservation) = (StreamId::new(id).expect("not zero"), reservation.expect("no bytes"));
            self.store.insert(Stream::new(id, Handshake::Done, Priority::MEDIUM, 0, reservation))
        }

        fn stream(&mut self, id: u32) -> Key {
            let key = self.idle_stream(id);
            assert!(self.store.activate(key).is_some());
            key
        }

        fn begin(&mut self, key: Key) {
            self.pending.begin(self.store.get_mut(key).expect("a stream"));
        }

        fn end(&mut self, key: Key) {
            self.pending.end(self.store.get_mut(key).expect("a stream"));
        }
    }

    #[test]
    fn a_reader_is_pending_once_until_it_has_looked() {
        let mut bench = Bench::new();
        let [first, second] = [1, 3].map(|id| bench.stream(id));
        assert!(!bench.pending.any());
        bench.begin(first);
        bench.begin(first);
        bench.begin(second);
        bench.end(first);
        assert!(bench.pending.any(), "the second reader has not looked");
        bench.end(first);
        assert!(bench.pending.any(), "the first reader counts once");
        bench.end(second);
        assert!(!bench.pending.any());
        bench.begin(first);
        assert!(bench.pending.any(), "there is more data");
    }

    #[test]
    fn a_stream_without_data_has_no_pending_reader() {
        let mut bench = Bench::new();
        let key = bench.idle_stream(1);
        bench.begin(key);
        bench.end(key);
        assert!(!bench.pending.any());
    }

    #[test]
    fn readers_that_never_look_delay_few_batches() {
        let mut bench = Bench::new();
        let keys: Vec<_> = (0..100).map(|n| bench.stream(2 * n + 1)).collect();
        keys.iter().for_each(|key| bench.begin(*key));
        let delayed = std::iter::from_fn(|| bench.pending.any().then(|| bench.pending.forget_half())).count();
        assert_eq!(delayed, 7, "100, 50, 25, 12, 6, 3, 1");
        // Readers that were forgotten and look after all take nothing off the count of others.
        keys.iter().take(50).for_each(|key| bench.end(*key));
        bench.begin(keys[0]);
        assert!(bench.pending.any());
        bench.end(keys[0]);
        assert!(!bench.pending.any());
    }
}
