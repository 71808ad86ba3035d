//! Everything that is sent comes back.

use super::{Kind, Plan, close, drain, put};
use crate::chance::Chance;
use crate::end::End;
use crate::watched::Watched;
use futures::{AsyncReadExt, future};
use std::io;
use std::rc::Rc;

pub async fn run(end: &Rc<End>, chance: &mut Chance) -> io::Result<()> {
    let bytes = if chance.of(8) { 0 } else { end.amount(chance) };
    let stream = end.open(Plan::new(Kind::Echo, bytes, bytes)).await?;
    let (id, mut reading) = (stream.id(), chance.fork());
    let (mut reader, mut writer) = stream.split();
    let write = async {
        put(&mut writer, id, (0, bytes), end, chance).await?;
        close(&mut writer, end).await
    };
    let read = drain(&mut reader, end, &mut reading);
    future::try_join(write, read).await.map(drop)
}

pub async fn serve(stream: Watched, end: &Rc<End>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    end.world.op("an echo", futures::io::copy(reader, &mut writer)).await?;
    close(&mut writer, end).await
}
