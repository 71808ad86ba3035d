//! What is fuzzed, as functions of any input that panic where something does not hold. The fuzzers call them, and
//! `tests/corpus.rs` replays what they have found worth keeping.

mod codec;
mod input;
mod link;
mod pair;
mod session;

pub use codec::codec;
pub use pair::pair;
pub use session::session;
