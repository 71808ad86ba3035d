//! Owns what the core has to tell the shell.

pub(in crate::proto) mod notes;
