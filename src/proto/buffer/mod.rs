//! Owns the chunks in which bytes wait to be sent or read, and the free list of those that were used.

pub(in crate::proto) mod chunk_pool;
pub(in crate::proto) mod chunks;
