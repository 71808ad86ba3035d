//! Owns [`IdHash`]: the hash of ids and keys, which no choice of ids can make slow (hash flooding).
//!
//! The peer chooses ids, so they are multiplied by a random odd factor. Uses nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

/// Entries up to which a hash map is not shrunk. Trades the few KiB at most that 64 entries take against an allocation with
/// every burst of streams.
const SMALL: usize = 64;

/// A bijection from ids to well-spread hashes that a peer cannot predict. Not `nohash-hasher`: a permuted id of 32 bits
/// leaves the high bits empty by which the map tells entries apart, and 100,000 ids cost 7.0 times as many probes as
/// random hashes. Keys of 64 bits would cost every stream 8 bytes a map, of the 400 that an idle stream may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdHash(u64);

/// The hash of one id.
#[derive(Debug)]
pub(crate) struct IdHasher {
    spread: IdHash,
    hash: u64,
}

impl IdHash {
    pub(in crate::proto) const fn new(random: u64) -> Self {
        Self(random | 1)
    }

    /// The middle bits of the product depend on all bits of the number; the rotation puts them where a hash map looks
    /// first.
    const fn of(self, number: u64) -> u64 {
        number.wrapping_mul(self.0).rotate_left(32)
    }
}

impl Default for IdHash {
    /// For keys that a peer does not choose.
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { spread: *self, hash: 0 }
    }
}

impl Hasher for IdHasher {
    fn write_u32(&mut self, number: u32) {
        self.hash = self.spread.of(self.hash ^ u64::from(number));
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// Shrinks a hash map that holds far fewer entries than it did.
pub(crate) fn shrink_sparse<K: Eq + Hash, V>(map: &mut HashMap<K, V, IdHash>) {
    let len = map.len();
    if map.capacity() > SMALL.max(len.saturating_mul(8)) {
        map.shrink_to(len.saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::StreamId;
    use quickcheck::quickcheck;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::HashSet;

    quickcheck! {
        fn spread_is_a_bijection(random: u64, ids: Vec<u32>) -> bool {
            let spread = IdHash::new(random);
            let ids: HashSet<_> = ids.into_iter().filter_map(StreamId::new).collect();
            ids.iter().map(|id| spread.hash_one(*id)).collect::<HashSet<_>>().len() == ids.len()
        }
    }

    #[test]
    fn ids_chosen_to_share_low_bits_are_spread() {
        let spread = IdHash::new(0x9E37_79B9_7F4A_7C15);
        for shift in [1, 8, 12, 16] {
            let buckets: HashSet<_> = (1..=1024u32)
                .filter_map(|i| StreamId::new((i << shift) | 1))
                .map(|id| spread.hash_one(id) % 2048)
                .collect();
            assert!(buckets.len() > 500, "{} of 1024 at shift {shift}", buckets.len());
        }
    }

    /// Looks and comparisons that it takes to find each of these hashes in a table as `hashbrown` has it: 16 slots are
    /// looked at together, from where the low bits say, and those are compared whose 7 high bits are the same.
    fn cost(hashes: impl Iterator<Item = u64>) -> u64 {
        const SLOTS: usize = 1 << 17;
        let (mut tags, mut cost) = (vec![None; SLOTS], 0);
        for hash in hashes {
            let (tag, mut at, mut stride) = (hash >> 57, hash as usize % SLOTS, 0);
            loop {
                let group = || (0..16).map(|slot| (at + slot) % SLOTS);
                cost += 1 + group().filter(|slot| tags[*slot] == Some(tag)).count() as u64;
                if let Some(free) = group().find(|slot| tags[*slot].is_none()) {
                    tags[free] = Some(tag);
                    break;
                }
                stride += 16;
                at = (at + stride) % SLOTS;
            }
        }
        cost
    }

    #[test]
    fn chosen_ids_cost_at_most_twice_what_random_ones_do() {
        const STREAMS: u32 = 100_000;
        let mut chance = StdRng::seed_from_u64(1);
        let random = cost((0..STREAMS).map(|_| chance.random()));
        let choices: [fn(u32) -> u32; 7] = [
            |n| 2 * n + 1,
            |n| (n << 14) | (n >> 18) << 1 | 1,
            |n| (2 * n + 1).reverse_bits() | 1,
            |n| (n % 512) << 22 | (n / 512) << 1 | 1,
            |n| n.wrapping_mul(21_473) | 1,
            |n| u32::MAX - 2 * n,
            |n| n.wrapping_mul(n) << 1 | 1,
        ];
        for seed in 0..8 {
            let spread = IdHash::new(StdRng::seed_from_u64(seed).random());
            for (index, choice) in choices.iter().enumerate() {
                let ids: HashSet<_> = (0..STREAMS).map(choice).filter_map(StreamId::new).collect();
                let (number, chosen) = (ids.len() as u64, cost(ids.into_iter().map(|id| spread.hash_one(id))));
                assert!(chosen * u64::from(STREAMS) <= 2 * random * number, "choice {index}, seed {seed}: {chosen}");
            }
        }
    }
}
