//! Servers that do not read all: one answers a part of an upload and goes, one does not even do that.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use crate::watched::Watched;
use futures::{AsyncReadExt, future};
use std::io;
use std::rc::Rc;

/// What the server reads before it answers, at most, and what it answers.
const READ: u64 = 1_024;
const ANSWER: u64 = 100;

pub async fn run(kind: Kind, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let upload = end.take_volume(chance.pick(&[2_000, 100_000, 262_144, 400_000, 800_000]));
    let stream = end.open(Plan::new(kind, upload, ANSWER)).await?;
    let (id, mut reading) = (stream.id(), chance.fork());
    let (mut reader, mut writer) = stream.split();
    let write = async {
        put(&mut writer, id, (0, upload), end, chance).await?;
        close(&mut writer, end).await
    };
    // The upload may fail; the answer arrives all the same, for as long as the client asks for it.
    let (_, read) = future::join(write, drain(&mut reader, end, &mut reading)).await;
    read
}

pub async fn serve(plan: Plan, mut stream: Watched, end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    if plan.kind == Kind::Refused {
        return Ok(());
    }
    let mut part = vec![0; READ.min(plan.there) as usize];
    end.world.op("the beginning of an upload", stream.read_exact(&mut part)).await?;
    if chance.of(4) {
        stream.close_read();
    }
    let id = stream.id();
    put(&mut stream, id, (0, ANSWER), end, chance).await?;
    if plan.kind == Kind::EarlyAnswer {
        close(&mut stream, end).await?;
    }
    if chance.of(2) {
        end.world.sleep(chance.millis(100)).await;
    }
    Ok(())
}
