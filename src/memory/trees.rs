//! Random trees of scopes and of managers of a user's own, with connections on them, against a model that only adds up:
//! what is granted is what every level on the way out allows, it is charged to all of them or to none, and all of it comes
//! back.

use super::{MemoryLimit, MemoryManager, MemoryScope, Refused, Reservation, Unlimited};
use crate::priority::Priority;
use futures::FutureExt;
use futures::future::BoxFuture;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

/// The most levels from the outermost one to a connection's.
const DEPTH: usize = 5;

/// What one level of [`Own`] counts.
#[derive(Debug, Default)]
struct Counter {
    limit: usize,
    reserved: AtomicUsize,
    refuses: AtomicBool,
}

/// A manager of a user's own: it knows no priorities, tells connections apart if it is told to, and hands everything on to
/// what lies around it.
#[derive(Clone, Debug)]
struct Own {
    counter: Arc<Counter>,
    around: Option<Arc<dyn MemoryManager>>,
    per_connection: Option<usize>,
    parts: Arc<Mutex<Vec<Weak<Counter>>>>,
}

impl Own {
    fn new(limit: usize, around: Option<Arc<dyn MemoryManager>>, per_connection: Option<usize>) -> Self {
        let counter = Arc::new(Counter { limit, ..Counter::default() });
        Self { counter, around, per_connection, parts: Arc::default() }
    }
}

impl MemoryManager for Own {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        let Counter { limit, reserved, refuses } = &*self.counter;
        if refuses.load(Relaxed) || reserved.load(Relaxed).saturating_add(bytes) > *limit {
            return Err(Refused::new(bytes));
        }
        if let Some(around) = &self.around {
            around.reserve(bytes, priority)?;
        }
        reserved.fetch_add(bytes, Relaxed);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        assert!(self.counter.reserved.fetch_sub(bytes, Relaxed) >= bytes, "more came back than was granted");
        self.around.iter().for_each(|around| around.release(bytes));
    }

    fn released(&self, bytes: usize, priority: Priority) -> Option<BoxFuture<'static, ()>> {
        self.around.as_ref()?.released(bytes, priority)
    }

    fn for_connection(&self) -> Option<Arc<dyn MemoryManager>> {
        let around = self.around.as_ref().and_then(|around| around.for_connection());
        if around.is_none() && self.per_connection.is_none() {
            return None;
        }
        let level = Self { around: around.or_else(|| self.around.clone()), per_connection: None, ..self.clone() };
        let Some(limit) = self.per_connection else { return Some(Arc::new(level)) };
        let part = Self::new(limit, Some(Arc::new(level)), None);
        self.parts.lock().unwrap().push(Arc::downgrade(&part.counter));
        Some(Arc::new(part))
    }
}

/// One node of a tree, as it is drawn.
#[derive(Clone, Debug)]
struct Drawn {
    kind: u8,
    parent: usize,
    limit: usize,
    per_connection: Option<usize>,
    fair: bool,
}

impl Arbitrary for Drawn {
    fn arbitrary(g: &mut Gen) -> Self {
        let some = |g: &mut Gen, below: usize| usize::arbitrary(g) % below;
        Self {
            kind: u8::arbitrary(g),
            parent: some(g, 64),
            limit: 500 + some(g, 3500),
            per_connection: bool::arbitrary(g).then(|| some(g, 1500)),
            fair: u8::arbitrary(g).is_multiple_of(3),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open(usize),
    Close(usize),
    Reserve { who: usize, bytes: usize, priority: u8 },
    Release { who: usize, which: usize, bytes: usize },
    Refuse { node: usize, refuses: bool },
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let (who, which, bytes) = (usize::arbitrary(g), usize::arbitrary(g), usize::arbitrary(g) % 900);
        match u8::arbitrary(g) % 12 {
            0 | 1 => Self::Open(who),
            2 => Self::Close(who),
            3 => Self::Refuse { node: which, refuses: bool::arbitrary(g) },
            4..=6 => Self::Release { who, which, bytes },
            // Zero bytes are a question of their own.
            _ => Self::Reserve {
                who,
                bytes: if which.is_multiple_of(16) { 0 } else { bytes },
                priority: u8::arbitrary(g),
            },
        }
    }
}

/// A node of the tree, real and as the model sees it.
enum Node {
    Unlimited,
    Limit(Arc<MemoryLimit>),
    Scope(MemoryScope),
    Own(Own),
}

struct Tree {
    nodes: Vec<(Node, Drawn)>,
    /// What lies around each node, itself first.
    paths: Vec<Vec<usize>>,
}

impl Tree {
    fn grow(drawn: Vec<Drawn>) -> Self {
        let mut tree = Self { nodes: Vec::new(), paths: Vec::new() };
        for mut own in drawn.into_iter().take(12) {
            let at = tree.nodes.len();
            let parents: Vec<_> = (0..at).filter(|parent| tree.paths[*parent].len() < DEPTH).collect();
            let parent = parents.get(own.parent % parents.len().max(1)).copied();
            let around = parent.map(|parent| tree.manager(parent));
            let node = match (around, own.kind % 6) {
                (None, 0 | 1) => Node::Limit(Arc::new(MemoryLimit::new(own.limit))),
                (None, 2 | 3) => Node::Unlimited,
                (around, 0) | (around @ None, _) => Node::Own(Own::new(own.limit, around, own.per_connection)),
                (Some(around), _) => {
                    let mut scope = MemoryScope::new(own.limit, around);
                    if let Some(limit) = own.per_connection {
                        scope = scope.per_connection(limit);
                    }
                    Node::Scope(if own.fair { scope.fair() } else { scope })
                }
            };
            own.fair &= matches!(node, Node::Scope(_));
            let mut path = vec![at];
            path.extend(parent.into_iter().flat_map(|parent| tree.paths[parent].clone()));
            tree.nodes.push((node, own));
            tree.paths.push(path);
        }
        tree
    }

    fn manager(&self, node: usize) -> Arc<dyn MemoryManager> {
        match &self.nodes[node].0 {
            Node::Unlimited => Arc::new(Unlimited),
            Node::Limit(limit) => limit.clone(),
            Node::Scope(scope) => Arc::new(scope.clone()),
            Node::Own(own) => Arc::new(own.clone()),
        }
    }

    /// What the node itself says is reserved of it.
    fn reserved(&self, node: usize) -> Option<usize> {
        match &self.nodes[node].0 {
            Node::Unlimited => None,
            Node::Limit(limit) => Some(limit.reserved()),
            Node::Scope(scope) => Some(scope.reserved()),
            Node::Own(own) => Some(own.counter.reserved.load(Relaxed)),
        }
    }
}

/// What stands in the way of a reservation, as the model sees it.
#[derive(Clone, Debug)]
struct Level {
    /// Which sum it looks at.
    sum: usize,
    limit: usize,
    rule: Rule,
    /// The sum and the limit that a connection shares fairly with others.
    shares: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Thresholds that rise with the priority.
    Thresholds,
    /// Whatever a manager of a user's own does; the node that can be told to refuse.
    Own(Option<usize>),
}

impl Level {
    fn fits(&self, sums: &[usize], bytes: usize, priority: u8) -> bool {
        let sum = (sums[self.sum] + bytes) as u128;
        match self.rule {
            Rule::Thresholds => {
                self.limit == usize::MAX || sum * 256 <= self.limit as u128 * (1 + u128::from(priority))
            }
            Rule::Own(_) => sum <= self.limit as u128,
        }
    }

    fn is_fair(&self, sums: &[usize], bytes: usize) -> bool {
        self.shares.is_none_or(|(all, limit)| {
            let free = limit.saturating_sub(sums[all]).saturating_sub(bytes);
            sums[self.sum] + bytes <= 4 * free
        })
    }
}

struct Connection {
    manager: Arc<dyn MemoryManager>,
    levels: Vec<Level>,
    held: Vec<Reservation>,
}

/// Somebody who was refused, and the level that it waits for.
struct Waiter {
    released: BoxFuture<'static, ()>,
    level: Level,
    bytes: usize,
    priority: u8,
}

#[derive(Default)]
struct Model {
    /// What is reserved of each node, and then of each part of a connection's.
    sums: Vec<usize>,
    refusing: Vec<bool>,
}

impl Model {
    fn allows(&self, level: &Level, bytes: usize, priority: u8) -> bool {
        let refuses = matches!(level.rule, Rule::Own(Some(node)) if self.refusing[node]);
        !refuses && level.fits(&self.sums, bytes, priority) && level.is_fair(&self.sums, bytes)
    }

    /// Whether `has_room` says so: the levels are asked from the inside out, and a manager that does not say what there is
    /// room for has always some for nothing.
    fn has_room(&self, levels: &[Level], bytes: usize, priority: u8) -> bool {
        let asked = levels.iter().take_while(|level| bytes > 0 || level.rule == Rule::Thresholds);
        asked.into_iter().all(|level| self.allows(level, bytes, priority))
    }

    fn charge(&mut self, levels: &[Level], bytes: isize) {
        levels.iter().for_each(|level| self.sums[level.sum] = self.sums[level.sum].checked_add_signed(bytes).unwrap());
    }
}

struct World {
    tree: Tree,
    model: Model,
    connections: Vec<Connection>,
    waiter: Option<Waiter>,
    /// Parts that managers of a user's own must have made.
    parts: usize,
}

impl World {
    fn new(drawn: Vec<Drawn>) -> Self {
        let tree = Tree::grow(drawn);
        let nodes = tree.nodes.len();
        let model = Model { sums: vec![0; nodes], refusing: vec![false; nodes] };
        Self { tree, model, connections: Vec::new(), waiter: None, parts: 0 }
    }

    fn open(&mut self, node: usize) {
        let manager = self.tree.manager(node);
        let manager = manager.for_connection().unwrap_or(manager);
        let mut levels = Vec::new();
        for at in &self.tree.paths[node] {
            let (node, Drawn { limit, per_connection, fair, .. }) = &self.tree.nodes[*at];
            let (part, rule) = match node {
                Node::Unlimited => continue,
                Node::Limit(_) => (false, Rule::Thresholds),
                Node::Scope(_) => (per_connection.is_some() || *fair, Rule::Thresholds),
                Node::Own(_) => (per_connection.is_some(), Rule::Own(None)),
            };
            if part {
                let shares = fair.then_some((*at, *limit));
                let limit = per_connection.unwrap_or(usize::MAX);
                levels.push(Level { sum: self.model.sums.len(), limit, rule, shares });
                self.model.sums.push(0);
                self.parts += usize::from(rule == Rule::Own(None));
            }
            let rule = if rule == Rule::Own(None) { Rule::Own(Some(*at)) } else { rule };
            levels.push(Level { sum: *at, limit: *limit, rule, shares: None });
        }
        self.connections.push(Connection { manager, levels, held: Vec::new() });
    }

    fn close(&mut self, who: usize) {
        let Connection { levels, held, manager } = self.connections.swap_remove(who);
        // The connection may be gone before what it holds.
        drop(manager);
        for reservation in held {
            self.model.charge(&levels, -(reservation.bytes() as isize));
        }
    }

    fn reserve(&mut self, who: usize, bytes: usize, priority: u8) {
        let Connection { manager, levels, held } = &mut self.connections[who];
        let urgency = Priority::new(priority);
        let expected = levels.iter().all(|level| self.model.allows(level, bytes, priority));
        assert_eq!(manager.has_room(bytes, urgency), self.model.has_room(levels, bytes, priority), "room for {bytes}");
        assert_eq!(manager.has_room(0, urgency), self.model.has_room(levels, 0, priority), "room for nothing");
        match Reservation::new(manager, bytes, urgency) {
            Ok(reservation) => {
                assert!(expected || bytes == 0, "{bytes} at {priority} were granted against {levels:?}");
                self.model.charge(levels, bytes as isize);
                held.push(reservation);
            }
            Err(refused) => {
                assert!(!expected, "{bytes} at {priority} were refused by {levels:?}");
                assert_eq!(refused.bytes(), bytes);
                if self.waiter.is_none() {
                    let level = levels
                        .iter()
                        .find(|level| level.rule == Rule::Thresholds && !level.fits(&self.model.sums, bytes, priority))
                        .cloned();
                    let released = manager.released(bytes, urgency);
                    assert_eq!(released.is_some(), level.is_some(), "what is waited for among {levels:?}");
                    self.waiter =
                        released.zip(level).map(|(released, level)| Waiter { released, level, bytes, priority });
                }
            }
        }
    }

    fn release(&mut self, who: usize, which: usize, bytes: usize) {
        let Connection { levels, held, .. } = &mut self.connections[who];
        if held.is_empty() {
            return;
        }
        let which = which % held.len();
        // A part of it, or all.
        let part = held[which].split(bytes);
        if held[which].bytes() == 0 {
            drop(held.swap_remove(which));
        }
        self.model.charge(levels, -(part.bytes() as isize));
    }

    fn step(&mut self, step: &Step) {
        let (nodes, open) = (self.tree.nodes.len(), self.connections.len());
        match *step {
            Step::Open(node) if nodes > 0 => self.open(node % nodes),
            Step::Refuse { node, refuses } if nodes > 0 => {
                if let Node::Own(own) = &self.tree.nodes[node % nodes].0 {
                    own.counter.refuses.store(refuses, Relaxed);
                    self.model.refusing[node % nodes] = refuses;
                }
            }
            Step::Close(who) if open > 0 => self.close(who % open),
            Step::Reserve { who, bytes, priority } if open > 0 => self.reserve(who % open, bytes, priority),
            Step::Release { who, which, bytes } if open > 0 => self.release(who % open, which, bytes),
            _ => {}
        }
        self.check();
    }

    fn check(&mut self) {
        for node in 0..self.tree.nodes.len() {
            if let Some(reserved) = self.tree.reserved(node) {
                assert_eq!(reserved, self.model.sums[node], "what is reserved of node {node}");
            }
        }
        if let Some(mut waiter) = self.waiter.take() {
            let Waiter { released, level, bytes, priority } = &mut waiter;
            let told = released.now_or_never().is_some();
            assert_eq!(told, level.fits(&self.model.sums, *bytes, *priority), "who waits for {level:?}");
            self.waiter = Some(waiter).filter(|_| !told);
        }
    }

    fn end(mut self) {
        while !self.connections.is_empty() {
            self.close(0);
            self.check();
        }
        assert!(self.model.sums.iter().all(|sum| *sum == 0));
        let parts = self.tree.nodes.iter().filter_map(|(node, _)| match node {
            Node::Own(own) => Some(own.parts.lock().unwrap().clone()),
            Node::Unlimited | Node::Limit(_) | Node::Scope(_) => None,
        });
        let parts: Vec<_> = parts.flatten().collect();
        assert_eq!(parts.len(), self.parts, "each connection has one part of each manager on its way");
        assert!(parts.iter().all(|part| part.strong_count() == 0), "a part outlives its connection");
    }
}

#[test]
fn limits_compose_at_every_depth() {
    fn composes(drawn: Vec<Drawn>, steps: Vec<Step>) -> bool {
        let mut world = World::new(drawn);
        steps.iter().for_each(|step| world.step(step));
        world.end();
        true
    }
    QuickCheck::new().tests(3_000).quickcheck(composes as fn(Vec<Drawn>, Vec<Step>) -> bool);
}

#[test]
fn a_scope_in_a_scope_keeps_the_limit_of_a_connection() {
    let node = Arc::new(MemoryScope::new(1000, Arc::new(Unlimited)).per_connection(100));
    let mut group = MemoryScope::new(1000, node.clone());
    for depth in 2..=DEPTH {
        let [first, second] = [(); 2].map(|()| group.for_connection().expect("one of its own"));
        assert_eq!(first.reserve(101, Priority::ALWAYS), Err(Refused::new(101)), "at depth {depth}");
        assert_eq!(first.reserve(100, Priority::ALWAYS), Ok(()));
        assert_eq!(first.reserve(1, Priority::ALWAYS), Err(Refused::new(1)));
        assert_eq!(second.reserve(100, Priority::ALWAYS), Ok(()));
        assert_eq!((node.reserved(), group.reserved()), (200, 200));
        first.release(100);
        second.release(100);
        group = MemoryScope::new(1000, Arc::new(group));
    }
}
