//! A server and a client over plain TCP, each a session with a task that drives it. The client asks for the numbers up to
//! ten to be doubled, each on a stream of its own, all at the same time.

use anyhow::{Result, ensure};
use sluicegate::{Config, Mode, Session, Stream};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener));
    ask(address).await?;
    server.await?
}

/// Serves one client until it closes.
async fn serve(listener: TcpListener) -> Result<()> {
    let (socket, client) = listener.accept().await?;
    socket.set_nodelay(true)?;
    let (session, driver) = Session::over_tokio(socket, Config::default(), Mode::Server);
    let driven = tokio::spawn(driver);
    while let Ok(stream) = session.accept().await {
        tokio::spawn(double(stream));
    }
    driven.await??;
    println!("{client} has closed");
    Ok(())
}

/// Answers one request.
async fn double(mut stream: Stream) -> std::io::Result<()> {
    let number = stream.read_u32().await?;
    stream.write_u32(2 * number).await?;
    stream.shutdown().await
}

/// Asks on ten streams at once, then closes.
async fn ask(server: SocketAddr) -> Result<()> {
    let socket = TcpStream::connect(server).await?;
    // With Nagle's algorithm the kernel would hold back small frames.
    socket.set_nodelay(true)?;
    let (session, driver) = Session::over_tokio(socket, Config::default(), Mode::Client);
    tokio::spawn(driver);
    let mut requests = JoinSet::new();
    for number in 1..=10 {
        let session = session.clone();
        requests.spawn(async move {
            let mut stream = session.open().await?;
            stream.write_u32(number).await?;
            anyhow::Ok((number, stream.read_u32().await?))
        });
    }
    for answer in requests.join_all().await {
        let (number, doubled) = answer?;
        ensure!(doubled == 2 * number, "{doubled} is not twice {number}");
        println!("twice {number} is {doubled}");
    }
    println!("round trip: {:?}", session.ping().await?);
    session.close().await?;
    Ok(())
}
