//! What a read returns: a copy of few bytes, or the chunks of many.

use super::Bench;
use crate::error::ConnectionError;
use crate::priority::Priority;
use crate::proto::limits::{INITIAL_WINDOW, SMALL_READ};
use crate::proto::{Chunks, Taken};

#[test]
fn little_is_copied_and_its_chunk_used_again() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    let mut into = [0; 2 * SMALL_READ];
    for round in 0..3 {
        // It comes in two pieces, and the second has a chunk of its own.
        bench.receive_data(id, 600);
        bench.receive_data(id, 500);
        let (read, taken) = bench.mux.read_small(key, &mut into).expect("little");
        let due = INITIAL_WINDOW / 2 - round * 1100;
        assert_eq!((read, taken), (1100, Taken::Bytes { due }));
        assert_eq!(into[..1101], [[7; 1100].as_slice(), &[0]].concat());
        assert_eq!(bench.mux.send_pool.free_chunks.len(), 3 * 1024, "round {round}");
        bench.mux.consume(key, 1100, bench.now);
        into.fill(0);
    }
    assert_eq!(bench.mux.read_small(key, &mut into), None, "there is no more");
}

#[test]
fn more_is_not_copied_nor_what_does_not_fit() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    let mut into = [0; 2 * SMALL_READ];
    bench.receive_data(id, SMALL_READ);
    assert_eq!(bench.mux.read_small(key, &mut []), None);
    assert_eq!(bench.mux.read_small(key, &mut into[..SMALL_READ - 1]), None);
    bench.receive_data(id, 1);
    assert_eq!(bench.mux.read_small(key, &mut into), None);
    assert_eq!(into, [0; 2 * SMALL_READ]);
    // All of it is there still.
    let mut chunks = Chunks::default();
    assert!(matches!(bench.mux.read(key, &mut chunks), Ok(Taken::Bytes { .. })));
    assert_eq!(chunks.clear(), SMALL_READ + 1);
}

#[test]
fn after_the_end_the_rest_is_read_and_its_chunk_freed() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    bench.receive_data(id, 600);
    bench.mux.fail(ConnectionError::Dropped, bench.now);
    let mut chunks = Chunks::default();
    assert_eq!(bench.mux.read_small(key, &mut [0; SMALL_READ]), None);
    assert!(matches!(bench.mux.read(key, &mut chunks), Ok(Taken::Bytes { .. })));
    assert_eq!((chunks.clear(), bench.mux.send_pool.free_chunks.len()), (600, 0));
}
