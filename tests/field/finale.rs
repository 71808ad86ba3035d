//! How a run comes to its end.

use crate::chance::Chance;
use crate::end::End;
use crate::wire::Wire;
use crate::world::{Flag, World};
use futures::future;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finale {
    /// One end closes when all is done.
    Close,
    /// Both do.
    CloseBoth,
    /// One end closes when it has said all it has to say. Only it opens streams.
    CloseEarly,
    /// One end says go-away in the middle; the other closes when the last stream has ended.
    GoAway,
    /// One end drops its handles when all is done.
    Leave,
    /// A driver is dropped long after all is done.
    Vanish,
    /// The link fails in the middle, or falls silent.
    Cut,
    /// A driver is dropped in the middle.
    DriverDropped,
}

/// What the finale needs to know of the run.
pub struct Stage {
    pub world: World,
    pub ends: [Rc<End>; 2],
    pub wires: [Rc<RefCell<Wire>>; 2],
    /// A driver whose flag is raised is dropped.
    pub dooms: [Rc<Flag>; 2],
    /// The end that closes.
    pub closer: usize,
}

impl Stage {
    pub async fn finish(self, finale: Finale, mut chance: Chance) {
        let longest = chance.pick(&[1, 100, 5_000]);
        let in_the_middle = chance.millis(longest);
        let end = &self.ends[self.closer];
        match finale {
            Finale::Close => {
                self.idle(&[self.closer]).await;
                end.close().await;
            }
            Finale::CloseBoth => {
                self.idle(&[0, 1]).await;
                future::join(self.ends[0].close(), self.ends[1].close()).await;
            }
            Finale::CloseEarly => {
                while end.common.busy.get() > 0 {
                    self.world.sleep(Duration::from_micros(100)).await;
                }
                end.close().await;
            }
            Finale::GoAway => {
                self.world.sleep(in_the_middle).await;
                end.go_away();
            }
            Finale::Leave => {
                self.idle(&[self.closer]).await;
                end.leave();
            }
            Finale::Vanish => {
                self.idle(&[0, 1]).await;
                self.quiet().await;
                end.oracle().facts.vanished = Some(self.closer);
                self.dooms[self.closer].raise();
            }
            Finale::Cut => {
                self.world.sleep(in_the_middle).await;
                end.oracle().facts.cut = true;
                let kinds = [Some(io::ErrorKind::ConnectionReset), Some(io::ErrorKind::BrokenPipe), None];
                let kind = chance.pick(&kinds);
                self.wires.iter().for_each(|wire| wire.borrow_mut().cut(kind));
            }
            Finale::DriverDropped => {
                self.world.sleep(in_the_middle).await;
                end.oracle().facts.cut = true;
                self.dooms[self.closer].raise();
            }
        }
    }

    /// Waits until nothing has been on the link for some time: also not a part of a frame.
    async fn quiet(&self) {
        let mut still = 0;
        while still < 5 {
            self.world.sleep(Duration::from_secs(1)).await;
            still = if self.wires.iter().all(|wire| wire.borrow().is_empty()) { still + 1 } else { 0 };
        }
    }

    /// Waits until the applications are done, and these ends have served all that they were sent.
    async fn idle(&self, ends: &[usize]) {
        let common = &self.ends[0].common;
        let patience = self.world.now() + Duration::from_secs(900);
        let busy = |side: &usize| {
            let serving = self.ends[*side].serving.get() > 0;
            serving || common.oracle.borrow().unaccepted(*side) > 0 && self.world.now() < patience
        };
        while common.busy.get() > 0 || ends.iter().any(busy) {
            self.world.sleep(Duration::from_millis(20)).await;
        }
    }
}
