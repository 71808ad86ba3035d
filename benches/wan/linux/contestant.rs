//! Who takes part.

/// What is at the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contestant {
    Sluicegate,
    /// With pacing off at both ends.
    Unpaced,
    /// This crate at the near end.
    ToRustYamux,
    ToGoYamux,
    RustYamux,
    TokioYamux,
    /// Each stream is a connection of its own.
    Tcp,
}

impl Contestant {
    pub const ALL: [Self; 7] = [
        Self::Sluicegate,
        Self::Unpaced,
        Self::ToRustYamux,
        Self::ToGoYamux,
        Self::RustYamux,
        Self::TokioYamux,
        Self::Tcp,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sluicegate => "sluicegate",
            Self::Unpaced => "sluicegate, pacing off",
            Self::ToRustYamux => "sluicegate to rust-yamux",
            Self::ToGoYamux => "sluicegate to go-yamux",
            Self::RustYamux => "rust-yamux",
            Self::TokioYamux => "tokio-yamux",
            Self::Tcp => "plain TCP",
        }
    }

    /// Whether this crate, as it is by default, is at one end at least.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Sluicegate | Self::ToRustYamux | Self::ToGoYamux)
    }
}
