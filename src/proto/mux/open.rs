//! Owns what an open that waits for the backlog does about it: streams that the peer has not heard of are announced, since
//! it could not acknowledge them otherwise (Y-OPEN-14).

use crate::proto::key::Key;
use crate::proto::mux::Mux;
use crate::proto::stream::Handshake;
use crate::wire::StreamId;

/// How many streams had been opened when one was last announced for an open that waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Announced(Option<u64>);

impl Mux {
    /// Lets the SYN of the oldest stream leave that nobody has announced, once for each open that waits. Where it still
    /// waits after others have been opened, one of those may have taken the place, and another one is announced.
    ///
    /// Ids are given out in order and looked at once: all of this costs a step for each stream that was ever opened.
    pub(crate) fn announce_for(&mut self, waiting: &mut Announced) {
        let opened = Some(self.ledger.opened);
        if std::mem::replace(&mut waiting.0, opened) == opened {
            return;
        }
        while let Some(id) = self.unannounced.filter(|id| Some(*id) != self.next_id) {
            self.unannounced = id.value().checked_add(2).and_then(StreamId::new);
            if let Some(key) = self.store.find(id).filter(|key| self.is_unannounced(*key)) {
                // Y-OPEN-14.
                return self.send_syn(key);
            }
        }
    }

    /// Whether nothing lets the SYN of a stream leave so far.
    fn is_unannounced(&self, key: Key) -> bool {
        let lazy = |stream: &crate::proto::stream::Stream| {
            stream.handshake == Handshake::Lazy && !stream.owed.syn && !stream.has_output()
        };
        self.store.get(key).is_some_and(lazy)
    }
}
