//! Streams by the hundred: opened and not used, or all at once.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use futures::future::join_all;
use std::io;
use std::rc::Rc;

pub async fn run(kind: Kind, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let count = match kind {
        Kind::Burst => chance.pick(&[260, 2_400]),
        _ => 300,
    };
    let plan = Plan::new(kind, 1, 1);
    if kind == Kind::Burst {
        let one = |mut chance: Chance| async move {
            let mut stream = end.open(plan).await?;
            let id = stream.id();
            put(&mut stream, id, (0, 1), end, &mut chance).await?;
            close(&mut stream, end).await?;
            drain(&mut stream, end, &mut chance).await
        };
        // The surplus is refused, which harms nobody else.
        let _results: Vec<io::Result<()>> = join_all((0..count).map(|_| one(chance.fork()))).await;
        return Ok(());
    }
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(end.open(plan).await?);
    }
    // Some are used after all, the others never.
    let mut used = end.open(Plan::new(Kind::Unused, 10, 10)).await?;
    let id = used.id();
    put(&mut used, id, (0, 10), end, chance).await?;
    close(&mut used, end).await?;
    drain(&mut used, end, chance).await
}
