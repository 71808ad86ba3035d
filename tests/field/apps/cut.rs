//! Streams that do not come to their end: dropped in the middle of a write, by a panic, or reset.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use crate::watched::Watched;
use futures::FutureExt;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

pub async fn run(kind: Kind, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let bytes = end.take_volume(chance.pick(&[100, 50_000, 400_000, 900_000]));
    let mut stream = end.open(Plan::new(kind, bytes, 0)).await?;
    let id = stream.id();
    if kind == Kind::Reset {
        put(&mut stream, id, (0, chance.below(bytes) + 1), end, chance).await?;
        if chance.of(2) {
            end.world.sleep(chance.millis(200)).await;
        }
        if chance.of(2) {
            stream.reset(chance.pick(&[0, 1, 7_000_000]));
        } else {
            close(&mut stream, end).await?;
        }
        return drain(&mut stream, end, chance).await;
    }
    if chance.of(3) {
        let panics = async move {
            put(&mut stream, id, (0, chance.below(bytes)), end, chance).await?;
            // As a panic does, without a message.
            resume_unwind(Box::new("in the middle of a message"));
        };
        let outcome: Result<io::Result<()>, _> = AssertUnwindSafe(panics).catch_unwind().await;
        return outcome.unwrap_or(Ok(()));
    }
    let longest = Duration::from_micros(chance.pick(&[0, 10, 1_000, 100_000, 3_000_000]));
    let writing = put(&mut stream, id, (0, bytes), end, chance);
    end.world.timeout(longest, writing).await.unwrap_or(Ok(()))
}

pub async fn serve(plan: Plan, mut stream: Watched, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    if plan.kind == Kind::Reset && chance.of(2) {
        end.world.sleep(chance.millis(50)).await;
        stream.reset(chance.pick(&[0, 3]));
        return Ok(());
    }
    drain(&mut stream, end, chance).await
}
