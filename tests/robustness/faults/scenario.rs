//! The scenario: everything that two ends do with each other, with a task for each of it.
//!
//! The tasks know of each other only what arrives on the connection, so that its end reaches each of them where it waits.

use super::end::{End, Stopped, Wait};
use super::talk::Talk;
use futures::channel::oneshot;
use futures::future::join_all;
use sluicegate::{ConfigBuilder, ConnectionError, PingError};
use std::rc::Rc;

/// Streams that the client may have open before the server has accepted one.
const BACKLOG: usize = 4;

/// More than a window.
const MUCH: usize = 300_000;

// What the client's streams are for.
const EXCHANGE: u8 = 1;
const FILL: u8 = 2;
const LISTEN: u8 = 3;
const RESET: u8 = 4;
const LEAVE: u8 = 5;

/// The code of the reset.
const CODE: u32 = 7;

/// Nothing may depend on time: windows do not grow, and whoever opens does not wait for a slow acceptor.
pub fn client_settings(settings: ConfigBuilder) -> ConfigBuilder {
    settings.max_stream_window(256 * 1024).accept_backlog(BACKLOG)
}

pub fn server_settings(settings: ConfigBuilder) -> ConfigBuilder {
    settings.max_stream_window(256 * 1024)
}

/// One stream more than the backlog has room for.
pub fn client(end: &Rc<End>) {
    let roles = vec![
        end.start("exchange", exchange(end.clone())),
        end.start("fill", fill(end.clone())),
        end.start("listen", listen(end.clone())),
        end.start("reset", reset(end.clone())),
        end.start("leave", leave(end.clone())),
        end.start("answer", answer(end.clone())),
        end.start("ping", pings(end.clone(), 12)),
    ];
    drop(end.start("accept", accept_nothing(end.clone())));
    drop(end.start("close", close(end.clone(), roles)));
}

pub fn server(end: &Rc<End>) {
    drop(end.start("accept", accept(end.clone())));
    drop(end.start("call", call(end.clone())));
}

async fn exchange(end: Rc<End>) -> Result<(), Stopped> {
    let mut talk = Talk::open(end, EXCHANGE).await?;
    talk.send(1, 40_000).await?;
    for small in [1, 10, 100] {
        talk.send(2, small).await?;
        talk.flush().await?;
    }
    talk.finish().await?;
    talk.receive(3, 30_000).await?;
    talk.receive_end().await
}

async fn fill(end: Rc<End>) -> Result<(), Stopped> {
    let mut talk = Talk::open(end, FILL).await?;
    talk.send(4, MUCH).await?;
    talk.finish().await?;
    talk.receive_end().await
}

async fn listen(end: Rc<End>) -> Result<(), Stopped> {
    let mut talk = Talk::open(end, LISTEN).await?;
    talk.flush().await?;
    talk.receive(5, 5).await?;
    talk.receive_end().await?;
    talk.finish().await
}

async fn reset(end: Rc<End>) -> Result<(), Stopped> {
    let mut talk = Talk::open(end, RESET).await?;
    talk.send(6, 1_000).await?;
    talk.receive(7, 1).await?;
    talk.reset(CODE);
    Ok(())
}

/// Drops a stream with data queued.
async fn leave(end: Rc<End>) -> Result<(), Stopped> {
    Talk::open(end, LEAVE).await?.send(8, 1_000).await
}

/// Takes the one stream that the server opens.
async fn answer(end: Rc<End>) -> Result<(), Stopped> {
    let mut talk = Talk::accept(end).await?;
    talk.receive(9, 20_000).await?;
    talk.receive_end().await?;
    talk.send(10, 30_000).await?;
    talk.finish().await
}

async fn call(end: Rc<End>) -> Result<(), Stopped> {
    let mut talk = Talk::open_unnamed(end).await?;
    talk.send(9, 20_000).await?;
    talk.finish().await?;
    talk.receive(10, 30_000).await?;
    talk.receive_end().await
}

/// Passes the time, which is counted in round trips. A ping without an answer is no reason to go on.
async fn pings(end: Rc<End>, number: usize) -> Result<(), Stopped> {
    let mut answered = 0;
    while answered < number {
        match end.wait(Wait::Ping, end.session.ping()).await {
            Ok(_) => answered += 1,
            Err(PingError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn accept_nothing(end: Rc<End>) -> Result<(), Stopped> {
    match end.wait(Wait::Accept, end.session.accept()).await {
        Ok(stream) => panic!("{stream:?} is one too many"),
        Err(reason) => at_the_end(reason),
    }
}

async fn close(end: Rc<End>, roles: Vec<oneshot::Receiver<()>>) -> Result<(), Stopped> {
    join_all(roles).await;
    Ok(end.wait(Wait::Close, end.session.close()).await?)
}

/// Lets the client wait for a while.
async fn accept(end: Rc<End>) -> Result<(), Stopped> {
    pings(end.clone(), 2).await?;
    loop {
        match Talk::accept(end.clone()).await {
            Ok(talk) => drop(end.start("serve", serve(end.clone(), talk))),
            Err(Stopped(reason)) => return at_the_end(reason),
        }
    }
}

/// A connection that has ended in good order is what an acceptor waits for.
fn at_the_end(reason: ConnectionError) -> Result<(), Stopped> {
    if reason.is_clean() { Ok(()) } else { Err(reason.into()) }
}

async fn serve(end: Rc<End>, mut talk: Talk) -> Result<(), Stopped> {
    match talk.topic().await? {
        EXCHANGE => {
            talk.receive(1, 40_000).await?;
            for small in [1, 10, 100] {
                talk.receive(2, small).await?;
            }
            talk.receive_end().await?;
            talk.send(3, 30_000).await?;
            talk.finish().await
        }
        FILL => {
            // Until the window is full, and some time after that.
            pings(end, 6).await?;
            talk.receive(4, MUCH).await?;
            talk.receive_end().await?;
            talk.finish().await
        }
        LISTEN => {
            pings(end, 10).await?;
            talk.send(5, 5).await?;
            talk.finish().await?;
            talk.receive_end().await
        }
        RESET => {
            talk.receive(6, 1_000).await?;
            talk.send(7, 1).await?;
            talk.receive_reset(CODE).await
        }
        LEAVE => {
            talk.receive(8, 1_000).await?;
            talk.receive_end().await
        }
        other => panic!("{other} is nothing that a stream is for"),
    }
}
