//! Who takes part.

/// What is measured side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contestant {
    Sluicegate,
    Tcp,
    RustYamux,
    TokioYamux,
    GoYamux,
    Hashicorp,
}

impl Contestant {
    pub const ALL: [Self; 6] =
        [Self::Sluicegate, Self::Tcp, Self::RustYamux, Self::TokioYamux, Self::GoYamux, Self::Hashicorp];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sluicegate => "sluicegate",
            Self::Tcp => "plain TCP",
            Self::RustYamux => "rust-yamux",
            Self::TokioYamux => "tokio-yamux",
            Self::GoYamux => "go-yamux",
            Self::Hashicorp => "hashicorp",
        }
    }

    /// Whether it is another yamux, with which this one has to compete.
    pub const fn is_rival(self) -> bool {
        !matches!(self, Self::Sluicegate | Self::Tcp)
    }
}
