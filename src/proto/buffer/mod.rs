//! Owns the chunks that hold bytes until they are sent or read, and the free list of used ones.

pub(in crate::proto) mod chunk_pool;
pub(in crate::proto) mod chunks;
