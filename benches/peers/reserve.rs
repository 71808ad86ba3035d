//! Reserving and releasing through three nested scopes, on one thread and on two.

use sluicegate::memory::MemoryScope;
use sluicegate::{MemoryLimit, MemoryManager, Priority};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// How long one of `count` pairs of calls takes on each of `threads` threads, which share the outer scopes.
pub fn reserve(threads: usize, count: usize) -> Duration {
    let node: Arc<dyn MemoryManager> = Arc::new(MemoryLimit::new(1 << 30));
    let network: Arc<dyn MemoryManager> = Arc::new(MemoryScope::new(1 << 30, node));
    let service: Arc<dyn MemoryManager> = Arc::new(MemoryScope::new(1 << 29, network));
    let barrier = Barrier::new(threads);
    let times = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..threads)
            .map(|_| {
                let peer = MemoryScope::new(1 << 28, service.clone());
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    for _ in 0..count {
                        peer.reserve(1024, Priority::MEDIUM).expect("there is room");
                        peer.release(1024);
                    }
                    start.elapsed()
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().expect("ends")).max()
    });
    // All of it has been given back.
    assert!(service.has_room((1 << 29) * 152 / 256, Priority::MEDIUM));
    times.expect("a thread") / u32::try_from(count).expect("not so many")
}
