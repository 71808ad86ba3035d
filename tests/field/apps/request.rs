//! A request, then the response.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use crate::watched::Watched;
use futures::AsyncWriteExt;
use std::io;
use std::rc::Rc;

pub async fn run(end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    for _ in 0..=chance.below(4) {
        let (there, back) = (end.amount(chance).min(20_000), end.amount(chance));
        ask(Plan::new(Kind::Request, there, back), end, chance).await?;
    }
    Ok(())
}

pub async fn ask(plan: Plan, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let mut stream = end.open(plan).await?;
    if let Some(priority) = plan.priority {
        stream.stream().set_priority(priority);
    }
    let id = stream.id();
    put(&mut stream, id, (0, plan.there), end, chance).await?;
    if chance.of(2) {
        end.world.op("a flush", stream.flush()).await?;
    }
    close(&mut stream, end).await?;
    drain(&mut stream, end, chance).await
}

pub async fn serve(plan: Plan, mut stream: Watched, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    drain(&mut stream, end, chance).await?;
    let id = stream.id();
    put(&mut stream, id, (0, plan.back), end, chance).await?;
    // Without a close the drop finishes it.
    if chance.of(3) { Ok(()) } else { close(&mut stream, end).await }
}
