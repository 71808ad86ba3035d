//! Much data, in one direction or in both, with readers that pause and priorities that change.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use crate::watched::Watched;
use futures::{AsyncReadExt, future};
use sluicegate::Priority;
use std::io;
use std::rc::Rc;

pub async fn run(kind: Kind, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let mut much = || end.take_volume(chance.pick(&[200_000, 600_000, 1_500_000]));
    let (there, back) = match kind {
        Kind::Upload => (much(), 0),
        Kind::Download => (0, much()),
        _ => (much(), much()),
    };
    let mut plan = Plan::new(kind, there, back);
    plan.priority = chance.of(2).then(|| any_priority(chance));
    let stream = end.open(plan).await?;
    exchange(stream, (there, back), end, chance).await
}

pub async fn serve(plan: Plan, stream: Watched, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    exchange(stream, (plan.back, plan.there), end, chance).await
}

/// Sends so many bytes and closes, and reads to the end meanwhile.
async fn exchange(stream: Watched, (out, expected): (u64, u64), end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let id = stream.id();
    if chance.of(4) {
        stream.stream().set_priority(any_priority(chance));
    }
    if chance.of(8) {
        stream.stream().grow_receive_window(expected as u32);
    }
    let mut reading = chance.fork();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        put(&mut writer, id, (0, out), end, chance).await?;
        close(&mut writer, end).await
    };
    future::try_join(write, drain(&mut reader, end, &mut reading)).await.map(drop)
}

pub fn any_priority(chance: &mut Chance) -> Priority {
    chance.pick(&[Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS])
}
