//! Owns flow control: windows, the bandwidth estimate that sizes them, and the requests to the memory manager for them.

pub(in crate::proto) mod grown;
mod rate;
pub(in crate::proto) mod requests;
pub(in crate::proto) mod window;
