//! Whole nodes: libp2p swarms, the lines of the guide for users of `libp2p-yamux`, and an example as a process.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod echo_example;
mod from_libp2p_yamux;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "libp2p")]
mod swarm;
