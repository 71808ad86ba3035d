//! What a peer's frames cost the one end that they reach: a connection whose transport hands out bytes that were prepared
//! before, on one thread, and nothing else. `benches/hostile.sh` counts the instructions of [`endpoint::take`].
//!
//! `hostile KIND FRAMES STREAMS` prints how many frames were taken, and how many bytes; fails where a flood does not end
//! as it should. `hostile` alone prints the kinds: the honest one to compare each
//! with, and what it ends with.

mod endpoint;
mod feed;
mod kinds;

use anyhow::{Context as _, ensure};
use endpoint::{Endpoint, take};
use kinds::KINDS;

fn main() -> anyhow::Result<()> {
    // `cargo bench` passes an option of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, frames, streams] = &arguments[..] else {
        ensure!(arguments.is_empty(), "expected KIND FRAMES STREAMS");
        KINDS.iter().for_each(|kind| println!("{} {} {}", kind.name, kind.like, kind.ends.unwrap_or("-")));
        return Ok(());
    };
    let kind = KINDS.iter().find(|kind| kind.name == name).context("there is no such kind")?;
    let (frames, streams): (u32, u32) = (frames.parse()?, streams.parse()?);
    let mut endpoint = Endpoint::new(kind, frames, streams)?;
    let before = endpoint.received();
    take(&mut endpoint);
    let (now, ended) = (endpoint.received(), endpoint.violation());
    let taken = now.frames() - before.frames();
    match (kind.ends, ended) {
        (None, None) => ensure!(taken == u64::from(frames), "{taken} frames were taken of {frames}"),
        (expected, ended) => ensure!(expected == ended.as_deref(), "it ended with {ended:?} and not with {expected:?}"),
    }
    println!("{taken} {}", now.wire_bytes() - before.wire_bytes());
    Ok(())
}
