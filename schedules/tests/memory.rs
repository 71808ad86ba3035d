//! Tasks that meet at a budget: nobody who waits for memory is left asleep while it fits, and the limit is never passed.

#![cfg(sluicegate_schedules = "loom")]

use futures::FutureExt;
use loom::future::block_on;
use loom::thread;
use sluicegate::memory::{MemoryScope, Reservation};
use sluicegate::{MemoryLimit, MemoryManager, Priority};
use sluicegate_schedules::explore;
use std::sync::Arc;

/// Waits for memory as whoever opens a stream does: listens, tries again, and only then sleeps.
fn acquire(manager: &Arc<dyn MemoryManager>, bytes: usize) -> Reservation {
    loop {
        if let Ok(reservation) = Reservation::new(manager, bytes, Priority::ALWAYS) {
            return reservation;
        }
        let released = manager.released(bytes, Priority::ALWAYS);
        if let Ok(reservation) = Reservation::new(manager, bytes, Priority::ALWAYS) {
            return reservation;
        }
        match released {
            Some(released) => block_on(released),
            // There was room in the meantime, which somebody has taken.
            None => thread::yield_now(),
        }
    }
}

/// Acquires and gives back at once, in a thread of its own.
fn pass(manager: &Arc<dyn MemoryManager>, bytes: usize) -> thread::JoinHandle<()> {
    let manager = manager.clone();
    thread::spawn(move || drop(acquire(&manager, bytes)))
}

/// A budget of which every byte is taken.
fn taken(limit: usize) -> (Arc<MemoryLimit>, Arc<dyn MemoryManager>, Reservation) {
    let budget = Arc::new(MemoryLimit::new(limit));
    let manager: Arc<dyn MemoryManager> = budget.clone();
    let all = acquire(&manager, limit);
    (budget, manager, all)
}

fn expect_whole(budget: &MemoryLimit) {
    assert_eq!((budget.reserved(), budget.peak()), (0, budget.limit()));
}

#[test]
fn a_release_is_not_missed_by_one_who_is_about_to_sleep() {
    explore(|| {
        let (budget, manager, all) = taken(1);
        let waiter = pass(&manager, 1);
        drop(all);
        waiter.join().expect("no panic");
        expect_whole(&budget);
    });
}

#[test]
fn two_who_wait_for_the_same_byte_get_it_one_after_the_other() {
    explore(|| {
        let (budget, manager, all) = taken(1);
        let waiters = [pass(&manager, 1), pass(&manager, 1)];
        drop(all);
        for waiter in waiters {
            waiter.join().expect("no panic");
        }
        expect_whole(&budget);
    });
}

#[test]
fn one_release_is_enough_for_two_who_fit() {
    explore(|| {
        let (budget, manager, all) = taken(2);
        let waiters = [pass(&manager, 1), pass(&manager, 1)];
        drop(all);
        for waiter in waiters {
            waiter.join().expect("no panic");
        }
        expect_whole(&budget);
    });
}

/// The large one comes to stand before the small one, or behind it, or neither has to wait.
#[test]
fn releases_in_parts_are_enough_for_large_and_small() {
    explore(|| {
        let (budget, manager, all) = taken(2);
        let (large, small) = (pass(&manager, 2), pass(&manager, 1));
        drop(all);
        large.join().expect("no panic");
        small.join().expect("no panic");
        expect_whole(&budget);
    });
}

#[test]
fn a_turn_that_is_dropped_while_it_comes_goes_to_the_next() {
    explore(|| {
        let (budget, manager, all) = taken(1);
        let mut given_up = manager.released(1, Priority::ALWAYS).expect("all is taken");
        assert!((&mut given_up).now_or_never().is_none());
        let waiter = pass(&manager, 1);
        let dropper = thread::spawn(move || drop(given_up));
        drop(all);
        waiter.join().expect("no panic");
        dropper.join().expect("no panic");
        expect_whole(&budget);
    });
}

/// The first poll was another task's, as happens to futures that move.
#[test]
fn a_turn_wakes_the_task_that_polled_it_last() {
    explore(|| {
        let (budget, manager, all) = taken(1);
        let mut released = manager.released(1, Priority::ALWAYS).expect("all is taken");
        assert!((&mut released).now_or_never().is_none());
        let waiter = thread::spawn(move || block_on(released));
        drop(all);
        waiter.join().expect("no panic");
        expect_whole(&budget);
    });
}

#[test]
fn the_limit_is_not_passed_by_two_who_fit_one_by_one() {
    explore(|| {
        let budget = Arc::new(MemoryLimit::new(3));
        let manager: Arc<dyn MemoryManager> = budget.clone();
        let takers = [(); 2].map(|()| {
            let manager = manager.clone();
            thread::spawn(move || Reservation::new(&manager, 2, Priority::ALWAYS).ok())
        });
        let granted = takers.map(|taker| taker.join().expect("no panic"));
        assert_eq!(granted.iter().flatten().count(), 1);
        assert_eq!((budget.reserved(), budget.peak()), (2, 2));
    });
}

/// Which of two nested levels is in the way.
#[test]
fn a_release_is_not_missed_in_nested_scopes() {
    for (inner, outer) in [(1, 2), (2, 1), (1, 1)] {
        explore(move || {
            let around = Arc::new(MemoryLimit::new(outer));
            let scope = Arc::new(MemoryScope::new(inner, around.clone()));
            let manager: Arc<dyn MemoryManager> = scope.clone();
            let held = acquire(&manager, 1);
            let waiter = pass(&manager, 1);
            drop(held);
            waiter.join().expect("no panic");
            assert_eq!((scope.reserved(), around.reserved()), (0, 0));
            assert!(scope.peak() <= inner && around.peak() <= outer);
        });
    }
}
