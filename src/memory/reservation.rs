//! Reservation: bytes that a memory manager has granted, and that give themselves back.
//!
//! Owns the one place in the crate where memory is reserved and released. Uses [`MemoryManager`] only. Never releases
//! the same bytes twice and never forgets any, whichever way it goes out of scope.

use std::{fmt, sync::Arc};

use super::{MemoryManager, Refused};
use crate::counting::count_down;
use crate::priority::Priority;

/// Bytes granted by a [`MemoryManager`], released exactly once, when this is dropped.
///
/// Dropping calls the manager, which is foreign code: do it outside of any lock.
#[must_use = "dropping a reservation releases its memory at once"]
pub struct Reservation {
    manager: Arc<dyn MemoryManager>,
    bytes: usize,
}

impl Reservation {
    /// Asks `manager` for `bytes` at this priority.
    ///
    /// A reservation of zero bytes is always granted, and the manager is not asked.
    ///
    /// # Errors
    ///
    /// [`Refused`] as the manager gave it. Nothing is held then.
    pub fn new(manager: &Arc<dyn MemoryManager>, bytes: usize, priority: Priority) -> Result<Self, Refused> {
        if bytes > 0 {
            manager.reserve(bytes, priority)?;
        }
        Ok(Self { manager: Arc::clone(manager), bytes })
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes over the bytes of `other`, a reservation of the same manager. The manager is not called.
    pub(crate) fn merge(&mut self, mut other: Reservation) {
        other.move_to(self, usize::MAX);
    }

    /// Moves `bytes` to `other`, a reservation of the same manager, or all there are if that is less.
    pub(crate) fn move_to(&mut self, other: &mut Reservation, bytes: usize) {
        debug_assert!(Arc::ptr_eq(&self.manager, &other.manager), "these are reservations of two managers");
        let moved = bytes.min(self.bytes);
        self.bytes = count_down(self.bytes, moved);
        // Only a manager that does not count can have granted more than fits; to release too little does no harm there.
        other.bytes = other.bytes.saturating_add(moved);
    }

    /// Takes `bytes` off into a reservation of their own, or all there are if that is less. The manager is not called.
    pub(crate) fn split(&mut self, bytes: usize) -> Reservation {
        let taken = bytes.min(self.bytes);
        self.bytes = count_down(self.bytes, taken);
        Self { manager: Arc::clone(&self.manager), bytes: taken }
    }
}

impl Drop for Reservation {
    /// Y-MEM-3.
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.manager.release(self.bytes);
        }
    }
}

impl fmt::Debug for Reservation {
    // Without the manager, which may print at any length and would repeat itself for every stream.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Mutex,
    };

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Call {
        Reserve(usize, u8),
        Release(usize),
    }

    /// Writes down every call, then refuses or panics if told to.
    #[derive(Debug, Default)]
    struct Recorder {
        calls: Mutex<Vec<Call>>,
        refuse: bool,
        panic_in_reserve: bool,
        panic_in_release: bool,
    }

    impl MemoryManager for Recorder {
        fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
            self.record(Call::Reserve(bytes, priority.value()));
            assert!(!self.panic_in_reserve, "reserve panics");
            if self.refuse {
                return Err(Refused::new(bytes));
            }
            Ok(())
        }

        fn release(&self, bytes: usize) {
            self.record(Call::Release(bytes));
            assert!(!self.panic_in_release, "release panics");
        }
    }

    impl Recorder {
        fn record(&self, call: Call) {
            self.calls.lock().unwrap().push(call);
        }

        fn calls(&self) -> Vec<Call> {
            self.calls.lock().unwrap().clone()
        }
    }

    fn manager(recorder: Recorder) -> (Arc<Recorder>, Arc<dyn MemoryManager>) {
        let recorder = Arc::new(recorder);
        (recorder.clone(), recorder)
    }

    #[test]
    fn is_three_words_also_when_optional() {
        assert_eq!(size_of::<Reservation>(), 3 * size_of::<usize>());
        assert_eq!(size_of::<Option<Reservation>>(), 3 * size_of::<usize>());
    }

    #[test]
    fn is_released_once_when_dropped() {
        let (recorder, manager) = manager(Recorder::default());
        let reservation = Reservation::new(&manager, 7, Priority::HIGH).unwrap();
        assert_eq!(reservation.bytes(), 7);
        assert_eq!(format!("{reservation:?}"), "Reservation { bytes: 7, .. }");
        assert_eq!(recorder.calls(), [Call::Reserve(7, 203)]);
        drop(reservation);
        assert_eq!(recorder.calls(), [Call::Reserve(7, 203), Call::Release(7)]);
    }

    #[test]
    fn refused_is_never_released() {
        let (recorder, manager) = manager(Recorder { refuse: true, ..Recorder::default() });
        let refused = Reservation::new(&manager, 7, Priority::LOW).unwrap_err();
        assert_eq!(refused, Refused::new(7));
        assert_eq!(recorder.calls(), [Call::Reserve(7, 101)]);
    }

    #[test]
    fn zero_bytes_never_call_the_manager() {
        let (recorder, manager) = manager(Recorder { refuse: true, ..Recorder::default() });
        let reservation = Reservation::new(&manager, 0, Priority::LOW).unwrap();
        assert_eq!(reservation.bytes(), 0);
        drop(reservation);
        assert_eq!(recorder.calls(), []);
    }

    #[test]
    fn merged_bytes_are_released_together() {
        let (recorder, manager) = manager(Recorder::default());
        let mut all = Reservation::new(&manager, 7, Priority::LOW).unwrap();
        all.merge(Reservation::new(&manager, 5, Priority::LOW).unwrap());
        all.merge(Reservation::new(&manager, 0, Priority::LOW).unwrap());
        assert_eq!(all.bytes(), 12);
        drop(all);
        assert_eq!(recorder.calls(), [Call::Reserve(7, 101), Call::Reserve(5, 101), Call::Release(12)]);
    }

    #[test]
    fn split_bytes_are_released_apart() {
        let (recorder, manager) = manager(Recorder::default());
        let mut rest = Reservation::new(&manager, 10, Priority::LOW).unwrap();
        let four = rest.split(4);
        assert_eq!((four.bytes(), rest.bytes()), (4, 6));
        let none = rest.split(0);
        assert_eq!((none.bytes(), rest.bytes()), (0, 6));
        let six = rest.split(usize::MAX);
        assert_eq!((six.bytes(), rest.bytes()), (6, 0));
        assert_eq!(recorder.calls(), [Call::Reserve(10, 101)]);
        drop((four, none, six, rest));
        assert_eq!(recorder.calls(), [Call::Reserve(10, 101), Call::Release(4), Call::Release(6)]);
    }

    #[test]
    fn moved_bytes_are_released_where_they_went() {
        let (recorder, manager) = manager(Recorder::default());
        let mut from = Reservation::new(&manager, 10, Priority::LOW).unwrap();
        let mut to = Reservation::new(&manager, 1, Priority::LOW).unwrap();
        from.move_to(&mut to, 4);
        assert_eq!((from.bytes(), to.bytes()), (6, 5));
        from.move_to(&mut to, 100);
        assert_eq!((from.bytes(), to.bytes()), (0, 11));
        drop((from, to));
        assert_eq!(recorder.calls(), [Call::Reserve(10, 101), Call::Reserve(1, 101), Call::Release(11)]);
    }

    #[test]
    fn the_owners_panic_releases_once() {
        let (recorder, manager) = manager(Recorder::default());
        let held = Reservation::new(&manager, 7, Priority::LOW).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(move || {
            let _held = held;
            panic!("while holding memory");
        }));
        assert!(outcome.is_err());
        assert_eq!(recorder.calls(), [Call::Reserve(7, 101), Call::Release(7)]);
    }

    #[test]
    fn a_panic_in_reserve_leaves_nothing_to_release() {
        let (recorder, manager) = manager(Recorder { panic_in_reserve: true, ..Recorder::default() });
        let outcome = catch_unwind(AssertUnwindSafe(|| Reservation::new(&manager, 7, Priority::LOW)));
        assert!(outcome.is_err());
        assert_eq!(recorder.calls(), [Call::Reserve(7, 101)]);
    }

    #[test]
    fn a_panic_in_release_is_not_repeated() {
        let (recorder, manager) = manager(Recorder { panic_in_release: true, ..Recorder::default() });
        let mut held = Reservation::new(&manager, 7, Priority::LOW).unwrap();
        let part = held.split(3);
        for reservation in [part, held] {
            assert!(catch_unwind(AssertUnwindSafe(|| drop(reservation))).is_err());
        }
        assert_eq!(recorder.calls(), [Call::Reserve(7, 101), Call::Release(3), Call::Release(4)]);
    }

    #[test]
    fn the_manager_lives_as_long_as_a_reservation() {
        let (recorder, manager) = manager(Recorder::default());
        let held = Reservation::new(&manager, 7, Priority::LOW).unwrap();
        drop(manager);
        assert_eq!(Arc::strong_count(&recorder), 2);
        drop(held);
        assert_eq!(Arc::strong_count(&recorder), 1);
        assert_eq!(recorder.calls(), [Call::Reserve(7, 101), Call::Release(7)]);
    }
}
