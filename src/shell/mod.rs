//! Upper floor: tasks and IO.
//!
//! The only floor that says waker, lock, clock and transport. It holds no rule of the protocol: it carries bytes to and
//! from the [`Mux`](crate::proto::Mux), does outside the lock what must not be done inside it, and wakes whoever waits.

mod after_unlock;
mod deadline;
mod driver;
#[cfg(feature = "libp2p")]
mod hold;
mod last_words;
mod listen;
mod log;
mod opener;
mod patience;
mod reader;
mod shared;
mod timer;
mod waiters;
mod waiting;
mod wire_tap;
mod writer;

pub(crate) use deadline::Deadline;
pub(crate) use driver::Driver;
#[cfg(feature = "libp2p")]
pub(crate) use hold::Hold;
pub(crate) use opener::Opener;
pub(crate) use shared::{Shared, What, Yields};
pub(crate) use timer::Timer;
pub(crate) use waiters::Place;
