//! Small messages beside bulk of another priority: the urgent ones are quick, and the others are not forgotten.

use super::{Kind, Plan, close, request};
use crate::chance::Chance;
use crate::end::End;
use crate::oracle::pattern;
use crate::world::Flag;
use futures::{AsyncWriteExt, FutureExt, future};
use sluicegate::Priority;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

const SMALL: u64 = 100;
/// In which ten small messages get through on any link of these runs, whatever is beside them.
const STARVED: Duration = Duration::from_secs(60);
/// What the others write between two of them.
const BETWEEN: u64 = 50_000;
const PIECE: u64 = 20_000;
/// A small message does not wait for as much of them. The send buffers hold 256 KiB.
const STARVED_BY: u64 = 2_000_000;
/// What is sent beside them until then, at most.
const BESIDE: u64 = 5_000_000;

pub async fn run(kind: Kind, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let (small, bulk) = match kind {
        Kind::Low => chance.pick(&[
            (Priority::LOW, Priority::MEDIUM),
            (Priority::LOW, Priority::HIGH),
            (Priority::MEDIUM, Priority::HIGH),
            (Priority::MEDIUM, Priority::MEDIUM),
        ]),
        _ => (Priority::HIGH, chance.pick(&[Priority::LOW, Priority::MEDIUM])),
    };
    let (done, writers) = (Flag::default(), chance.pick(&[1_u64, 4, 8]));
    let left = Cell::new(if kind == Kind::Low { BESIDE } else { end.take_volume(2_000_000) });
    let writing = Cell::new(writers);
    let beside = (0..writers).map(|_| {
        let writer = write_until(&done, &left, bulk, end);
        writer.inspect(|_| writing.set(writing.get() - 1))
    });
    let beside = future::join_all(beside);
    let messages = async {
        let result = end
            .world
            .op_within("its messages beside bulk", STARVED, send(kind, small, (&done, &left, &writing), end, chance))
            .await;
        done.raise();
        result
    };
    let (result, _) = future::join(messages, beside).await;
    result
}

async fn send(
    kind: Kind,
    priority: Priority,
    (done, left, writing): (&Flag, &Cell<u64>, &Cell<u64>),
    end: &Rc<End>,
    chance: &mut Chance,
) -> io::Result<()> {
    let mut plan = Plan::new(kind, SMALL, SMALL);
    plan.priority = Some(priority);
    if kind == Kind::Urgent {
        for _ in 0..10 {
            request::ask(plan, end, chance).await?;
        }
        return Ok(());
    }
    let mut stream = end.open(Plan::new(Kind::Low, 10 * SMALL, 0)).await?;
    stream.stream().set_priority(priority);
    let id = stream.id();
    for message in 0..10 {
        let before = left.get();
        while writing.get() > 0 && left.get() + BETWEEN > before {
            end.world.sleep(Duration::from_micros(50)).await;
        }
        let bytes: Vec<u8> = (message * SMALL..(message + 1) * SMALL).map(|index| pattern(id, index)).collect();
        let before = left.get();
        end.world.op("the write of a small message", stream.write_all(&bytes)).await?;
        let beside = before - left.get();
        let others = writing.get();
        assert!(beside <= STARVED_BY, "end {}: {priority:?} is starved: {beside} B by {others} others", end.side);
    }
    // A flush takes as long as the transport likes, and so does the close.
    done.raise();
    close(&mut stream, end).await
}

/// Writes for as long as the others are not done, and no more than all of them may.
async fn write_until(done: &Flag, left: &Cell<u64>, priority: Priority, end: &Rc<End>) -> io::Result<()> {
    let mut stream = end.open(Plan::new(Kind::Message, 0, 0)).await?;
    stream.stream().set_priority(priority);
    let (id, mut at) = (stream.id(), 0);
    while !done.is_up() && left.get() > PIECE {
        left.set(left.get() - PIECE);
        let bytes: Vec<u8> = (at..at + PIECE).map(|index| pattern(id, index)).collect();
        end.world.op("a write of bulk", stream.write_all(&bytes)).await?;
        at += PIECE;
    }
    close(&mut stream, end).await
}
