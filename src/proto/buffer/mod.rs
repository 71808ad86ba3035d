//! Owns the chunks that hold bytes until they are sent or read, and the free lists of what is used again.

pub(in crate::proto) mod chunk_pool;
pub(in crate::proto) mod chunks;
pub(in crate::proto) mod free_list;
