//! Figures: what a connection and a stream say of themselves, and what a tap is shown.

#[path = "support/api.rs"]
mod api;
mod line;
#[path = "memory/manager.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod manager;
#[path = "stats/node.rs"]
mod node;
#[path = "stats/refusals.rs"]
mod refusals;
#[path = "stats/resets.rs"]
mod resets;
#[path = "stats/stalls.rs"]
mod stalls;
mod support;
#[path = "stats/traffic.rs"]
mod traffic;
