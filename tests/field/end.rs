//! One end of the connection, as its applications see it.

use crate::apps::Plan;
use crate::chance::Chance;
use crate::oracle::Oracle;
use crate::watched::Watched;
use crate::world::{Flag, World};
use sluicegate::{ConnectionError, OpenError, PingError, Session, Stream};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// What both ends share.
pub struct Common {
    pub oracle: RefCell<Oracle>,
    /// What a stream is for, by its id: its opener says so here and not on the wire.
    pub plans: RefCell<HashMap<u32, Plan>>,
    /// Bytes that may still be sent in this run.
    pub volume: Cell<u64>,
    /// Applications that have not come to their end.
    pub busy: Cell<usize>,
    /// The shortest time that a byte has needed in each direction.
    pub least_latency: Cell<[Duration; 2]>,
}

impl Common {
    /// From now on a byte needs this long in each direction.
    pub fn on_latency(&self, latency: [Duration; 2]) {
        let least = self.least_latency.get();
        self.least_latency.set([least[0].min(latency[0]), least[1].min(latency[1])]);
    }

    /// No round trip is shorter: one under way while the path changes has the one direction from before and the other
    /// from after.
    fn least_round_trip(&self) -> Duration {
        self.least_latency.get().iter().sum()
    }
}

pub struct End {
    pub side: usize,
    pub world: World,
    pub common: Rc<Common>,
    session: RefCell<Option<Session>>,
    /// The handles are to be dropped.
    pub leaving: Flag,
    /// Streams of the peer that are being served.
    pub serving: Cell<usize>,
}

/// Why an application gives up where all is in order.
#[derive(Debug)]
pub struct Stopped;

impl From<Stopped> for io::Error {
    fn from(_: Stopped) -> Self {
        io::ErrorKind::Other.into()
    }
}

impl End {
    pub fn new(side: usize, world: &World, common: &Rc<Common>, session: Session) -> Rc<Self> {
        Rc::new(Self {
            side,
            world: world.clone(),
            common: common.clone(),
            session: RefCell::new(Some(session)),
            leaving: Flag::default(),
            serving: Cell::new(0),
        })
    }

    pub fn oracle(&self) -> RefMut<'_, Oracle> {
        self.common.oracle.borrow_mut()
    }

    /// A handle, while there are any.
    pub fn session(&self) -> Result<Session, Stopped> {
        self.session.borrow().clone().ok_or(Stopped)
    }

    /// A number of bytes to send: mostly few.
    pub fn amount(&self, chance: &mut Chance) -> u64 {
        let most = chance.pick(&[1, 100, 100, 5_000, 5_000, 70_000, 300_000, 1_000_000]);
        self.take_volume(chance.below(most) + 1)
    }

    /// So many bytes, or what there is left to be sent of them.
    pub fn take_volume(&self, bytes: u64) -> u64 {
        let taken = bytes.min(self.common.volume.get() / 3).max(1);
        self.common.volume.set(self.common.volume.get().saturating_sub(taken));
        taken
    }

    pub async fn open(self: &Rc<Self>, plan: Plan) -> io::Result<Watched> {
        let session = self.session()?;
        let opened = self.world.op("open", session.open()).await;
        self.opened(opened, plan)
    }

    pub fn opened(self: &Rc<Self>, opened: Result<Stream, OpenError>, plan: Plan) -> io::Result<Watched> {
        match opened {
            Ok(stream) => {
                self.oracle().on_open(self.side, stream.id());
                self.common.plans.borrow_mut().insert(stream.id(), plan);
                Ok(Watched::new(stream, self))
            }
            Err(error) => {
                let facts = &self.oracle().facts;
                let explained = match &error {
                    OpenError::Connection(reason) => facts.explain_end(self.side, reason, self.world.now()),
                    OpenError::RemoteGoAway | OpenError::Closing => facts.is_leaving(0) || facts.is_leaving(1),
                    OpenError::Refused(_) => facts.scarce[self.side],
                    _ => false,
                };
                assert!(explained, "end {}: opening fails with {error:?}, {facts:?}", self.side);
                Err(Stopped.into())
            }
        }
    }

    pub async fn ping(&self) -> io::Result<()> {
        let (session, start) = (self.session()?, self.world.now());
        let result = self.world.op("a ping", session.ping()).await;
        self.pinged(result, start)
    }

    /// A ping that was asked for at `start` has come to this.
    pub fn pinged(&self, result: Result<Duration, PingError>, start: Duration) -> io::Result<()> {
        let took = self.world.now() - start;
        let facts = &self.oracle().facts;
        match result {
            Ok(_) => {
                let least = self.common.least_round_trip();
                assert!(took >= least, "end {}: a ping is answered after {took:?} of {least:?}", self.side);
                Ok(())
            }
            Err(PingError::TimedOut) => {
                let slow = took >= Duration::from_millis(9_800);
                assert!(slow && facts.explain_lost_ping(), "end {}: no answer in {took:?}: {facts:?}", self.side);
                Ok(())
            }
            Err(PingError::Connection(reason)) => {
                assert!(
                    facts.explain_end(self.side, &reason, self.world.now()),
                    "end {}: a ping fails: {reason:?}, {facts:?}",
                    self.side
                );
                Err(Stopped.into())
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The peer's stream.
    pub fn accepted(self: &Rc<Self>, stream: Stream) -> (Watched, Plan) {
        let plan = *self.common.plans.borrow().get(&stream.id()).expect("opened before it is accepted");
        self.oracle().on_accept(self.side, stream.id());
        (Watched::new(stream, self), plan)
    }

    pub fn check_end(&self, reason: &ConnectionError) {
        let facts = &self.oracle().facts;
        assert!(
            facts.explain_end(self.side, reason, self.world.now()),
            "end {}: the connection is over at {:?}: {reason:?}, {facts:?}",
            self.side,
            self.world.now()
        );
    }

    /// Closes the session in good order, which takes so long at most.
    pub async fn close(&self) {
        let Ok(session) = self.session() else { return };
        {
            let now = self.world.now();
            let mut oracle = self.oracle();
            let moment = oracle.moment(now);
            oracle.facts.closed[self.side].get_or_insert(moment);
        }
        let closed = self.world.op_within("the close of its session", Duration::from_secs(125), session.close()).await;
        if let Err(reason) = closed {
            self.check_end(&reason);
        }
    }

    pub fn go_away(&self) {
        if let Ok(session) = self.session() {
            self.oracle().facts.away[self.side] = true;
            session.go_away();
        }
    }

    /// Nobody has a handle any more.
    pub fn leave(&self) {
        self.oracle().facts.drained[self.side] = true;
        self.leaving.raise();
        drop(self.session.borrow_mut().take());
    }
}
