//! What happens to a link while it is used.

use crate::chance::Chance;
use crate::end::Common;
use crate::wire::Wire;
use crate::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Calm,
    /// It stalls for a second to half a minute.
    Outages,
    /// The path becomes longer and shorter again.
    Changes,
}

/// The task that makes it.
pub async fn make(
    weather: Weather,
    world: World,
    wires: [Rc<RefCell<Wire>>; 2],
    common: Rc<Common>,
    mut chance: Chance,
) {
    for _ in 0..chance.below(4) + 1 {
        let longest = chance.pick(&[10, 300, 3_000]);
        world.sleep(chance.millis(longest)).await;
        match weather {
            Weather::Calm => return,
            Weather::Outages => {
                let time = Duration::from_millis(chance.pick(&[1_000, 5_000, 9_000, 12_000, 30_000]));
                if common.oracle.borrow().facts.cut {
                    return;
                }
                common.oracle.borrow_mut().facts.on_outage(time);
                for wire in &wires {
                    let mut wire = wire.borrow_mut();
                    wire.blocked_until = world.now() + time;
                    wire.nudge();
                }
                // One that follows at once would be one that is longer.
                world.sleep(time + Duration::from_secs(15)).await;
            }
            Weather::Changes => {
                for wire in &wires {
                    let mut wire = wire.borrow_mut();
                    let before = wire.path;
                    wire.path.latency = Duration::from_micros(chance.pick(&[25, 8_000, 40_000]));
                    if wire.path.speed() < before.speed().min(20_000) {
                        wire.path = before;
                    }
                    wire.nudge();
                }
                let queue_time = wires.iter().map(|wire| wire.borrow().path.queue_time()).sum();
                common.oracle.borrow_mut().facts.on_queue_time(queue_time);
                common.on_latency(wires.each_ref().map(|wire| wire.borrow().path.latency));
            }
        }
    }
}
