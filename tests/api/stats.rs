//! Figures: what a connection and a stream say of themselves, and what a tap is shown.

mod node;
mod refusals;
mod resets;
mod stalls;
mod traffic;
