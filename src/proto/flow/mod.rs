//! Owns flow control: windows, the bandwidth estimate that sizes them, the requests to the memory manager for them, and
//! the memory that they reserve at each priority level.

pub(in crate::proto) mod filter;
pub(in crate::proto) mod grown;
pub(in crate::proto) mod inflow;
pub(in crate::proto) mod levels;
mod rate;
pub(in crate::proto) mod requests;
pub(in crate::proto) mod window;
