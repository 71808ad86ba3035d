//! One run: two ends, their applications, and a link, all of it from a seed.

use crate::acceptor::{self, Acceptor};
use crate::apps::{self, Kind};
use crate::chance::Chance;
use crate::clock::View;
use crate::end::{Common, End};
use crate::finale::{Finale, Stage};
use crate::oracle::{Oracle, REFUSAL, is_time_out};
use crate::theme::Theme;
use crate::transport::{Habits, Transport};
use crate::weather::{self, Weather};
use crate::wire::{self, Path, Wire};
use crate::world::{Flag, Order, World};
use futures::future::{self, Either};
use sluicegate::stats::NodeStats;
use sluicegate::{Config, MemoryLimit, Mode, ReceiveCharge, RefusedOpen, Session, SessionDriver};
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Memory that is never scarce.
const PLENTY: usize = 1 << 40;

/// What a seed has drawn, but for what the applications draw.
#[derive(Debug)]
struct Draw {
    order: Order,
    pace: Duration,
    paths: [Path; 2],
    habits: [Habits; 2],
    weather: Weather,
    finale: Finale,
    closer: usize,
    budgets: [usize; 2],
    acceptors: [Acceptor; 2],
    kinds: [Vec<Kind>; 2],
}

impl Draw {
    fn new(theme: &Theme, chance: &mut Chance) -> Self {
        let paths = [(); 2].map(|()| Path::draw(theme.slowest, chance));
        let mut habits = [(); 2].map(|()| Habits::draw(chance));
        habits[1].ending = habits[0].ending;
        let mut finale = chance.pick_allowed(theme.finales);
        let closer = chance.below(2) as usize;
        let mut kinds = [(); 2].map(|()| {
            let count = chance.pick(theme.counts);
            (0..count).map(|_| chance.pick_allowed(theme.kinds)).collect::<Vec<_>>()
        });
        if kinds.iter().all(Vec::is_empty) {
            kinds[closer].push(chance.pick_allowed(theme.kinds));
        }
        let mut acceptors = [(); 2].map(|()| chance.pick_allowed(theme.acceptors));
        if finale == Finale::CloseEarly {
            // What is said by the one that closes needs no answer, and the other one says nothing.
            kinds[1 - closer].clear();
            kinds[closer].retain(|kind| matches!(kind, Kind::Message | Kind::Dropped));
            if kinds[closer].is_empty() {
                finale = Finale::Close;
                kinds[closer].push(Kind::Message);
            }
        }
        if finale != Finale::CloseEarly {
            // Somebody would wait for it.
            for acceptor in &mut acceptors {
                if let Acceptor::AfterEnd = acceptor {
                    *acceptor = Acceptor::Late(Duration::from_secs(5));
                }
            }
        }
        Self {
            order: chance.pick(&[Order::Any, Order::Any, Order::First, Order::Last]),
            pace: Duration::from_nanos(chance.pick(&[0, 0, 1_000, 20_000])),
            paths,
            habits,
            weather: chance.pick_allowed(theme.weathers),
            finale,
            closer,
            budgets: [(); 2].map(|()| chance.pick_allowed(theme.budgets).unwrap_or(PLENTY)),
            acceptors,
            kinds,
        }
    }

    /// The settings of one end.
    fn config(
        &self,
        side: usize,
        view: View,
        memory: Arc<MemoryLimit>,
        stats: NodeStats,
        chance: &mut Chance,
    ) -> Config {
        let small = self.kinds[side].contains(&Kind::Low);
        let bursts = self.kinds[side].contains(&Kind::Burst);
        let charging = chance.pick(&[ReceiveCharge::Window, ReceiveCharge::Buffered]);
        let mut settings = Config::builder()
            .clock(Arc::new(view))
            .memory(memory)
            .stats(stats)
            .refusal_code(REFUSAL)
            .receive_charge(charging)
            .refused_open(chance.pick(&[RefusedOpen::Fail, RefusedOpen::Wait]))
            .accept_backlog(if bursts { 4_096 } else { 256 })
            .max_send_buffer(chance.pick(&[64, 256, 256, if small { 256 } else { 4_096 }]) << 10)
            .max_message_size(chance.pick(&[1, 16, 16, 64]) << 10)
            .write_coalesce_delay(chance.pick(&[0, 0, 1, 20]).pipe(Duration::from_millis))
            .initial_stream_window(chance.pick(&[256, 256, 1_024]) << 10);
        if chance.of(3) && self.finale != Finale::Cut {
            settings = settings.keep_alive_interval(None);
        }
        settings.build().expect("valid")
    }
}

trait Pipe: Sized {
    fn pipe<T>(self, to: impl FnOnce(Self) -> T) -> T {
        to(self)
    }
}

impl Pipe for u64 {}

/// Runs one seed, and gives the polls that it took and the time at its end.
pub fn run(theme: &Theme, seed: u64) -> (u64, Duration) {
    let mut chance = Chance::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ theme.salt);
    let draw = Draw::new(theme, &mut chance);
    if std::env::var_os("SLUICEGATE_SEED").is_some() {
        eprintln!("{}: {draw:#?}", theme.name);
    }
    let world = World::new(draw.order, draw.pace, chance.fork());
    let wires = draw.paths.map(Wire::new);
    for wire in &wires {
        world.spawn_aside("a wire", wire::carry(world.clone(), wire.clone()));
    }
    let common = Rc::new(Common {
        oracle: RefCell::new(first_facts(&draw)),
        plans: RefCell::default(),
        volume: Cell::new(draw.paths[0].volume().min(draw.paths[1].volume())),
        busy: Cell::new(0),
        least_latency: Cell::new(draw.paths.map(|path| path.latency)),
    });
    let budgets = draw.budgets.map(|limit| Arc::new(MemoryLimit::new(limit)));
    let stats = NodeStats::default();
    let dooms = [(); 2].map(|()| Rc::<Flag>::default());
    let mut ends = Vec::new();
    for side in 0..2 {
        let tick = Duration::from_millis(chance.pick(&[0, 0, 0, 16, 100]));
        let late = Duration::from_micros(chance.pick(&[0, 0, 1_000, 15_000]));
        let view = View { timers: world.timers().clone(), tick, late };
        let config = draw.config(side, view, budgets[side].clone(), stats.clone(), &mut chance);
        let signs = common.oracle.borrow().facts.signs[side].clone();
        let io = Transport::new(&world, draw.habits[side], [&wires[1 - side], &wires[side]], signs, &mut chance);
        let mode = if side == 0 { Mode::Client } else { Mode::Server };
        let (session, driver) = Session::new(io, config, mode);
        let end = End::new(side, &world, &common, session);
        world.spawn(format!("the driver of end {side}"), drive(driver, end.clone(), dooms[side].clone()));
        world.spawn(
            format!("the acceptor of end {side}"),
            acceptor::accept(draw.acceptors[side], end.clone(), chance.fork()),
        );
        for kind in &draw.kinds[side] {
            start(*kind, &end, &mut chance);
        }
        ends.push(end);
    }
    let ends: [Rc<End>; 2] = ends.try_into().unwrap_or_else(|_| unreachable!("two ends"));
    let making = weather::make(draw.weather, world.clone(), wires.clone(), common.clone(), chance.fork());
    world.spawn_aside("the weather", making);
    let stage = Stage { world: world.clone(), ends, wires, dooms, closer: draw.closer };
    world.spawn("the finale".to_owned(), stage.finish(draw.finale, chance.fork()));
    world.run();
    check(&common, &budgets, &stats);
    (world.polls(), world.now())
}

fn first_facts(draw: &Draw) -> Oracle {
    let mut oracle = Oracle::default();
    oracle.facts.scarce = draw.budgets.map(|limit| limit < PLENTY);
    // Where streams come by the thousand the number of all that are open has a limit, too.
    oracle.facts.backlog = [256; 2];
    let mut queue_time: Duration = draw.paths.iter().map(Path::queue_time).sum();
    if draw.habits.iter().any(|habits| habits.staging > 0) {
        queue_time += Duration::from_secs_f64(64_527.0 / draw.paths[0].rate.min(draw.paths[1].rate) as f64);
    }
    oracle.facts.queue_time = queue_time;
    oracle
}

/// An application of this end, from some moment on.
fn start(kind: Kind, end: &Rc<End>, chance: &mut Chance) {
    let (end, mut chance) = (end.clone(), chance.fork());
    end.common.busy.set(end.common.busy.get() + 1);
    end.world.clone().spawn(format!("end {} running {kind:?}", end.side), async move {
        let longest = chance.pick(&[0, 0, 5, 500]);
        end.world.sleep(chance.millis(longest)).await;
        let _ = apps::run(kind, &end, &mut chance).await;
        end.common.busy.set(end.common.busy.get() - 1);
    });
}

async fn drive(driver: SessionDriver<Transport>, end: Rc<End>, doom: Rc<Flag>) {
    let doomed = pin!(doom.raised());
    let ended = future::select(driver, doomed).await;
    if let Either::Left((result, _)) = ended {
        match &result {
            Ok(()) => {
                let facts = &end.oracle().facts;
                let expected = facts.cut || facts.is_leaving(0) || facts.is_leaving(1) || facts.vanished.is_some();
                assert!(expected, "end {}: the connection is closed, and nobody closed it: {facts:?}", end.side);
            }
            Err(reason) => {
                end.check_end(reason);
                let mut oracle = end.oracle();
                oracle.facts.cut |= is_time_out(reason);
            }
        }
    }
}

/// All tasks are over, and nobody has a stream or a handle any more.
fn check(common: &Common, budgets: &[Arc<MemoryLimit>; 2], stats: &NodeStats) {
    for (side, budget) in budgets.iter().enumerate() {
        common.oracle.borrow().on_over(side);
        assert_eq!(budget.reserved(), 0, "end {side} keeps memory");
    }
    assert_eq!(stats.num_connections(), 0, "a connection is still counted");
}
