//! Messages that nobody answers: written, closed (or not even that) and dropped.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use crate::watched::Watched;
use std::io;
use std::rc::Rc;

pub async fn run(kind: Kind, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    for _ in 0..=chance.below(6) {
        let bytes = end.take_volume(chance.pick(&[1, 100, 100, 5_000, 60_000, 200_000]));
        let mut stream = end.open(Plan::new(kind, bytes, 0)).await?;
        let id = stream.id();
        put(&mut stream, id, (0, bytes), end, chance).await?;
        if kind == Kind::Message {
            close(&mut stream, end).await?;
        }
    }
    Ok(())
}

/// It has nothing to say; a close of its half must go well even if the connection is closed at once.
pub async fn serve(mut stream: Watched, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    drain(&mut stream, end, chance).await?;
    if chance.of(2) { close(&mut stream, end).await } else { Ok(()) }
}
