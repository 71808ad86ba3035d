//! Owns [`Moody`]: a memory manager with a small budget that also refuses, and finds memory scarce, at random.

use super::Chance;
use crate::memory::{MemoryLimit, MemoryManager, Refused};
use crate::priority::Priority;
use std::sync::Mutex;

#[derive(Debug)]
pub(super) struct Moody {
    limit: MemoryLimit,
    /// Refuses once in so many times; 0 is never.
    refuses: usize,
    chance: Mutex<Chance>,
}

impl Moody {
    pub(super) fn new(limits: &[u64], chance: &mut Chance) -> Self {
        let limit = MemoryLimit::new(chance.pick(limits) as usize);
        let refuses = chance.pick(&[0, 0, 3, 10]) as usize;
        Self { limit, refuses, chance: Mutex::new(Chance::new(chance.seed())) }
    }

    pub(super) fn reserved(&self) -> usize {
        self.limit.reserved()
    }

    /// Whether this has room at the highest priority, whatever the mood.
    pub(super) fn has_room_for_sure(&self, bytes: usize) -> bool {
        self.refuses == 0 && self.limit.has_room(bytes, Priority::ALWAYS)
    }

    fn is_in_the_mood(&self) -> bool {
        self.refuses == 0 || !self.chance.lock().expect("one thread").of(self.refuses)
    }
}

impl MemoryManager for Moody {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        if self.is_in_the_mood() { self.limit.reserve(bytes, priority) } else { Err(Refused::new(bytes)) }
    }

    fn release(&self, bytes: usize) {
        self.limit.release(bytes);
    }

    fn has_room(&self, bytes: usize, priority: Priority) -> bool {
        self.limit.has_room(bytes, priority) && self.is_in_the_mood()
    }
}
