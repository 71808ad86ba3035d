//! Bytes that both ends know, so that whoever receives them compares every one.

use std::sync::LazyLock;

/// At most `max` bytes of what transfer `number` carries from `offset` on. The length of the period is a prime, so that
/// a piece that is lost, doubled, misplaced or another transfer's does not go unnoticed.
pub(crate) fn bytes(number: u64, offset: u64, max: usize) -> &'static [u8] {
    const PERIOD: u64 = 65_521;
    static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..PERIOD).map(|_| next()).collect()
    });
    let start = (number % PERIOD * 7919 + offset % PERIOD) % PERIOD;
    let rest = &BLOCK[start as usize..];
    &rest[..max.min(rest.len())]
}

/// How many of these bytes, up to the first that is wrong, are what transfer `number` carries from `offset` on.
pub(crate) fn right(number: u64, offset: u64, received: &[u8]) -> usize {
    let mut right = 0;
    while right < received.len() {
        let rest = &received[right..];
        let expected = bytes(number, offset + right as u64, rest.len());
        if rest[..expected.len()] != *expected {
            return right + rest.iter().zip(expected).take_while(|(one, other)| one == other).count();
        }
        right += expected.len();
    }
    right
}
