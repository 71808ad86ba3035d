//! `MemoryScope`: a budget inside another one.
//!
//! Owns its own limit and the rule that shares it out to connections. Uses [`MemoryLimit`] for the limit and
//! [`MemoryManager`] for what lies around it, which may be anybody's. What one level refuses is charged to none.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use super::{MemoryLimit, MemoryManager, Refused};
use crate::priority::Priority;

/// How many times what is free a connection may hold of a fair scope. Busy connections of a number `n` then hold
/// `4 / (4 n + 1)` of the limit each, and one alone four fifths. Less would leave more of the limit unused where
/// few are busy (with 1, one alone has half of it), and more would leave who comes next less to begin with. docs/memory.md.
const FAIR: usize = 4;

/// A budget that is part of another one: of a node's, of a group's of peers, or of a user's own [`MemoryManager`].
///
/// A reservation is charged to the scope and to everything around it, or to nothing: each level grants only while it
/// stays within `limit * (1 + priority) / 256`, as a [`MemoryLimit`] does. Scopes may be nested as deep as is wanted.
///
/// With [`per_connection`](Self::per_connection) and [`fair`](Self::fair) each connection gets a scope of its own inside
/// this one when it begins. That holds at every depth: where a scope lies inside another one that tells connections apart,
/// or inside a manager of your own that does ([`MemoryManager::for_connection`]), a connection has its part of each of them,
/// and is granted what all of them allow. Of one connection, a stream never holds more than its `max_stream_window`.
///
/// ```
/// use sluicegate::memory::MemoryScope;
/// use sluicegate::{Config, MemoryLimit};
/// use std::sync::Arc;
///
/// let node = Arc::new(MemoryLimit::new(256 << 20));
/// // Whoever dials in shares half of it, fairly, and none of them takes more than 16 MiB.
/// let strangers = MemoryScope::new(128 << 20, node.clone()).per_connection(16 << 20).fair();
/// let inbound = Config::builder().memory(Arc::new(strangers)).build()?;
/// // Those that the node has chosen itself may use all there is.
/// let outbound = Config::builder().memory(node).build()?;
/// # drop((inbound, outbound));
/// # Ok::<_, sluicegate::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct MemoryScope {
    own: Arc<MemoryLimit>,
    around: Arc<dyn MemoryManager>,
    /// The scope of which this is one connection's part, where that is shared out fairly.
    shared: Option<Arc<MemoryLimit>>,
    connections: Option<Connections>,
}

/// What each connection gets.
#[derive(Clone, Copy, Debug)]
struct Connections {
    limit: usize,
    sharing: Sharing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    FirstCome,
    Fair,
}

impl MemoryScope {
    /// A budget of `limit` bytes inside `around`. [`Unlimited`](crate::memory::Unlimited) around it makes it the outermost.
    pub fn new(limit: usize, around: Arc<dyn MemoryManager>) -> Self {
        Self { own: Arc::new(MemoryLimit::new(limit)), around, shared: None, connections: None }
    }

    /// Each connection may hold `limit` bytes of it.
    #[must_use]
    pub fn per_connection(mut self, limit: usize) -> Self {
        let sharing = self.connections.map_or(Sharing::FirstCome, |connections| connections.sharing);
        self.connections = Some(Connections { limit, sharing });
        self
    }

    /// A connection may hold at most four times as much as is free after that, whatever the priority: however much one
    /// of them asks for, there is room for the others. One alone gets four fifths of the limit, and `n` busy ones come
    /// to `4 / (4 n + 1)` of it each.
    #[must_use]
    pub fn fair(mut self) -> Self {
        let limit = self.connections.map_or(usize::MAX, |connections| connections.limit);
        self.connections = Some(Connections { limit, sharing: Sharing::Fair });
        self
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.own.limit()
    }

    /// How many bytes are reserved now.
    pub fn reserved(&self) -> usize {
        self.own.reserved()
    }

    /// The most bytes that have been reserved at any one time, counting what was charged here and then refused by what
    /// lies around it. Never more than [`limit`](Self::limit).
    pub fn peak(&self) -> usize {
        self.own.peak()
    }

    /// Whether this connection leaves the others their room, with so many bytes more.
    fn is_fair_with(&self, more: usize) -> bool {
        self.shared.as_ref().is_none_or(|all| {
            let free = all.limit().saturating_sub(all.reserved()).saturating_sub(more);
            self.own.reserved().saturating_add(more) <= free.saturating_mul(FAIR)
        })
    }
}

impl MemoryManager for MemoryScope {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        // The inner one first: what is refused there does not touch what others see.
        let own = Charge::new(&*self.own, bytes, priority)?;
        let around = Charge::new(&*self.around, bytes, priority)?;
        if !self.is_fair_with(0) {
            return Err(Refused::new(bytes));
        }
        own.keep();
        around.keep();
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.own.release(bytes);
        self.around.release(bytes);
    }

    /// Waits for the innermost level that is in the way. Those without one are not asked: a reservation that is given
    /// back there because another level refused it is no news.
    fn released(&self, bytes: usize, priority: Priority) -> Option<BoxFuture<'static, ()>> {
        self.own.released(bytes, priority).or_else(|| self.around.released(bytes, priority))
    }

    fn has_room(&self, bytes: usize, priority: Priority) -> bool {
        self.own.has_room(bytes, priority) && self.is_fair_with(bytes) && self.around.has_room(bytes, priority)
    }

    /// What lies around it is asked as well, all the way out: each level that tells connections apart has its part for this
    /// one, and all of them stand in the way of a reservation.
    fn for_connection(&self) -> Option<Arc<dyn MemoryManager>> {
        let around = self.around.for_connection();
        if around.is_none() && self.connections.is_none() {
            return None;
        }
        let around = around.unwrap_or_else(|| self.around.clone());
        let level = Self { around, connections: None, ..self.clone() };
        let Some(Connections { limit, sharing }) = self.connections else { return Some(Arc::new(level)) };
        let shared = (sharing == Sharing::Fair).then(|| self.own.clone());
        Some(Arc::new(Self { shared, ..Self::new(limit, Arc::new(level)) }))
    }
}

/// What one level has granted, given back unless all of them have: also where the next one panics.
struct Charge<'a> {
    level: &'a dyn MemoryManager,
    bytes: usize,
}

impl<'a> Charge<'a> {
    fn new(level: &'a dyn MemoryManager, bytes: usize, priority: Priority) -> Result<Self, Refused> {
        level.reserve(bytes, priority)?;
        Ok(Self { level, bytes })
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.level.release(self.bytes);
        }
    }
}

impl fmt::Debug for MemoryScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryScope")
            .field("limit", &self.limit())
            .field("reserved", &self.reserved())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Unlimited;
    use futures::FutureExt;
    use quickcheck::{Arbitrary, Gen, quickcheck};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const MIB: usize = 1 << 20;

    fn levels(limits: [usize; 3]) -> (Arc<MemoryLimit>, Arc<MemoryScope>, MemoryScope) {
        let node = Arc::new(MemoryLimit::new(limits[0]));
        let group = Arc::new(MemoryScope::new(limits[1], node.clone()));
        let connection = MemoryScope::new(limits[2], group.clone());
        (node, group, connection)
    }

    #[test]
    fn whichever_level_refuses_none_is_charged() {
        for smallest in 0..3 {
            let mut limits = [1000; 3];
            limits[smallest] = 100;
            let (node, group, connection) = levels(limits);
            assert_eq!(connection.reserve(100, Priority::ALWAYS), Ok(()));
            assert_eq!(connection.reserve(1, Priority::ALWAYS), Err(Refused::new(1)));
            assert_eq!([node.reserved(), group.reserved(), connection.reserved()], [100; 3]);
            connection.release(100);
            assert_eq!([node.reserved(), group.reserved(), connection.reserved()], [0; 3]);
        }
    }

    #[test]
    fn each_level_has_the_thresholds() {
        for smallest in 0..3 {
            let mut limits = [usize::MAX; 3];
            limits[smallest] = 256;
            for priority in [Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS, Priority::new(7)] {
                let (_, _, connection) = levels(limits);
                let share = 1 + usize::from(priority.value());
                assert_eq!(connection.reserve(share, priority), Ok(()), "level {smallest}");
                assert!(connection.reserve(1, priority).is_err(), "level {smallest}");
            }
        }
    }

    /// Grants nothing and panics when asked.
    #[derive(Debug)]
    struct Panics;

    impl MemoryManager for Panics {
        fn reserve(&self, _bytes: usize, _priority: Priority) -> Result<(), Refused> {
            panic!("asked");
        }

        fn release(&self, _bytes: usize) {
            panic!("nothing was granted");
        }
    }

    #[test]
    fn a_manager_around_it_that_panics_leaves_no_charge_behind() {
        let group = Arc::new(MemoryScope::new(1000, Arc::new(Panics)));
        let connection = MemoryScope::new(1000, group.clone());
        let reserve = AssertUnwindSafe(|| connection.reserve(100, Priority::ALWAYS));
        assert!(catch_unwind(reserve).is_err());
        assert_eq!((group.reserved(), connection.reserved()), (0, 0));
    }

    #[test]
    fn there_is_room_where_all_levels_have_some() {
        for scarce in 0..3 {
            let mut limits = [usize::MAX; 3];
            limits[scarce] = 256;
            let (_, _, connection) = levels(limits);
            connection.reserve(103, Priority::ALWAYS).unwrap();
            assert!(!connection.has_room(0, Priority::LOW) && connection.has_room(0, Priority::MEDIUM));
            assert!(connection.has_room(50, Priority::MEDIUM) && !connection.has_room(51, Priority::MEDIUM));
            assert_eq!((connection.reserved(), connection.peak()), (103, 103));
        }
    }

    #[test]
    fn who_has_more_than_its_fair_share_is_to_give_way() {
        let scope = MemoryScope::new(1000, Arc::new(Unlimited)).fair();
        let [first, second] = [(); 2].map(|()| scope.for_connection().expect("one of its own"));
        assert!(first.has_room(800, Priority::ALWAYS) && !first.has_room(801, Priority::ALWAYS));
        assert_eq!(greedy(&*first, 1), 800);
        assert!(first.has_room(0, Priority::ALWAYS));
        second.reserve(1, Priority::ALWAYS).unwrap();
        assert!(!first.has_room(0, Priority::ALWAYS) && second.has_room(0, Priority::ALWAYS));
        first.release(4);
        assert!(first.has_room(0, Priority::ALWAYS));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(usize, u16, u8),
        Release(usize),
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            match bool::arbitrary(g) {
                true => Self::Reserve(usize::arbitrary(g), u16::arbitrary(g) % 300, u8::arbitrary(g)),
                false => Self::Release(usize::arbitrary(g)),
            }
        }
    }

    quickcheck! {
        /// Two groups of two connections each: every level is the sum of what is below it, within its limit.
        fn levels_are_sums(steps: Vec<Step>) -> bool {
            let node = Arc::new(MemoryLimit::new(1000));
            let groups = [600, 700].map(|limit| Arc::new(MemoryScope::new(limit, node.clone())));
            let connections: Vec<_> =
                groups.iter().flat_map(|group| [(); 2].map(|()| MemoryScope::new(400, group.clone()))).collect();
            let mut held: Vec<(usize, usize)> = Vec::new();
            for step in steps {
                match step {
                    Step::Reserve(who, bytes, priority) => {
                        let (who, bytes) = (who % 4, usize::from(bytes));
                        if connections[who].reserve(bytes, Priority::new(priority)).is_ok() {
                            held.push((who, bytes));
                        }
                    }
                    Step::Release(index) if !held.is_empty() => {
                        let (who, bytes) = held.swap_remove(index % held.len());
                        connections[who].release(bytes);
                    }
                    Step::Release(_) => {}
                }
                let of = |who| held.iter().filter(|(other, _)| *other == who).map(|(_, bytes)| bytes).sum::<usize>();
                let sums = [of(0), of(1), of(2), of(3)];
                let right = connections.iter().zip(sums).all(|(scope, sum)| scope.reserved() == sum && sum <= 400)
                    && groups[0].reserved() == sums[0] + sums[1]
                    && groups[1].reserved() == sums[2] + sums[3]
                    && node.reserved() == sums.iter().sum::<usize>()
                    && node.reserved() <= 1000;
                if !right {
                    return false;
                }
            }
            true
        }
    }

    /// Takes all it can get, `step` bytes at a time.
    fn greedy(connection: &dyn MemoryManager, step: usize) -> usize {
        (0..).take_while(|_| connection.reserve(step, Priority::ALWAYS).is_ok()).count() * step
    }

    #[test]
    fn a_connection_has_its_limit_and_the_next_one_its_own() {
        let scope = MemoryScope::new(10 * MIB, Arc::new(Unlimited)).per_connection(3 * MIB);
        let connections = [(); 4].map(|()| scope.for_connection().expect("one of its own"));
        let taken = connections.each_ref().map(|connection| greedy(&**connection, MIB));
        assert_eq!(taken, [3 * MIB, 3 * MIB, 3 * MIB, MIB]);
        assert_eq!(scope.reserved(), 10 * MIB);
        assert!(scope.clone().for_connection().is_some() && connections[0].for_connection().is_none());
        assert!(MemoryScope::new(MIB, Arc::new(Unlimited)).for_connection().is_none());
    }

    #[test]
    fn one_connection_never_takes_the_last_from_one_that_has_less() {
        const STEP: usize = 1024;
        let scope = MemoryScope::new(10 * MIB, Arc::new(Unlimited)).fair();
        let connections = [(); 8].map(|()| scope.for_connection().expect("one of its own"));
        let mut before = usize::MAX;
        for connection in &connections {
            let free = scope.limit() - scope.reserved();
            let taken = greedy(&**connection, STEP);
            // Four fifths of what the others have left, to a step.
            assert!(taken.abs_diff(free / 5 * 4) <= STEP, "{taken} of {free}");
            assert!(taken <= before);
            before = taken;
        }
        // Together and in turns they come to the same share each.
        let scope = MemoryScope::new(10 * MIB, Arc::new(Unlimited)).fair();
        let connections = [(); 8].map(|()| scope.for_connection().expect("one of its own"));
        let mut taken = [0; 8];
        loop {
            let granted = connections.each_ref().map(|connection| connection.reserve(STEP, Priority::ALWAYS).is_ok());
            taken.iter_mut().zip(granted).for_each(|(taken, granted)| *taken += usize::from(granted) * STEP);
            if granted == [false; 8] {
                break;
            }
        }
        let share = 10 * MIB * 4 / (4 * 8 + 1);
        assert!(taken.iter().all(|taken| taken.abs_diff(share) <= STEP), "{taken:?} for {share}");
    }

    #[test]
    fn the_level_in_the_way_is_waited_for_and_no_other() {
        for smallest in 0..3 {
            let mut limits = [1000; 3];
            limits[smallest] = 100;
            let (_, _, connection) = levels(limits);
            connection.reserve(100, Priority::ALWAYS).unwrap();
            let mut wait = connection.released(50, Priority::ALWAYS).expect("a level is in the way");
            // What is tried in vain is given back, which is no reason to try again.
            assert!(connection.reserve(50, Priority::ALWAYS).is_err());
            assert_eq!((&mut wait).now_or_never(), None);
            connection.release(50);
            assert_eq!(wait.now_or_never(), Some(()));
            assert!(connection.released(50, Priority::ALWAYS).is_none());
        }
        // Nor is there anything to wait for where a connection has its fair share: what others give back is not seen.
        let scope = MemoryScope::new(100, Arc::new(MemoryLimit::new(1000))).fair();
        let connection = scope.for_connection().expect("one of its own");
        assert_eq!(greedy(&*connection, 1), 80);
        assert!(connection.released(1, Priority::ALWAYS).is_none());
    }
}
