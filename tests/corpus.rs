//! What the fuzzers have found worth keeping, again: each input of `fuzz/corpus` must pass.

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, missing_debug_implementations, reason = "it is a crate of its own")]
mod fuzz;

use std::path::Path;

/// Says how many inputs there are.
fn replay(target: &str, run: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| {
            let path = entry.expect("an input").path();
            println!("{}", path.display());
            run(&std::fs::read(path).expect("an input"));
        })
        .count()
}

#[test]
fn codec() {
    assert!(replay("codec", fuzz::codec) > 5);
}

#[test]
fn session() {
    assert!(replay("session", fuzz::session) > 10);
}

#[test]
fn pair() {
    assert!(replay("pair", fuzz::pair) > 10);
}
