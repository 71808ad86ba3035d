//! An echo server for any yamux client: plain TCP, no encryption, no negotiation.
//!
//! ```text
//! cargo run --release --example echo -- --listen 127.0.0.1:0
//! ```
//!
//! prints `listening on ADDRESS`, then echoes every stream until the client finishes it, and closes it. It stays
//! within its memory budget, and no client can end it: a fault ends a stream or a connection, never the server.
//! `RUST_LOG=echo=debug,sluicegate=debug` logs what happens.

#[path = "support/size.rs"]
mod size;

use anyhow::{anyhow, ensure};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use futures::future::poll_fn;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use sluicegate::{Config, Connection, MemoryLimit, Mode, Stream};
use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;
use tracing::{Instrument, debug, debug_span};
use tracing_subscriber::EnvFilter;

/// Echoes every yamux stream of every TCP client until the client finishes it, then closes it.
#[derive(Debug, Parser)]
#[command(name = "echo", version)]
struct Options {
    /// Address to listen on; port 0 takes a free one. The address is printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,

    /// Memory that the streams of all connections may reserve together. Each stream takes 256 KiB of it, and more while
    /// it is fast; a stream is reset if there is no memory left for it.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = size::parse)]
    memory: u64,

    /// Streams that one client may have open at once; one more is reset.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_incoming_streams: usize,

    /// Receive window up to which one stream may grow.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = size::parse)]
    max_stream_window: u64,
}

impl Options {
    /// The settings of every connection, with the one budget that they share.
    fn config(&self) -> anyhow::Result<Config> {
        let window = u32::try_from(self.max_stream_window).map_err(|_| anyhow!("--max-stream-window is too large"))?;
        let memory = usize::try_from(self.memory).map_err(|_| anyhow!("--memory is too large for this machine"))?;
        let config = Config::builder()
            .memory(Arc::new(MemoryLimit::new(memory)))
            .max_incoming_streams(self.max_incoming_streams)
            .max_stream_window(window)
            .build()?;
        let first = config.initial_stream_window();
        ensure!(self.memory >= u64::from(first), "--memory must be at least {first} bytes, the window of one stream");
        Ok(config)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let config = match options.config() {
        Ok(config) => config,
        Err(error) => Options::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    match listen(&options.listen, config).await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("error: cannot listen on {}: {error}", options.listen);
            ExitCode::FAILURE
        }
    }
}

/// Serves clients for ever. Fails only before the first.
async fn listen(address: &str, config: Config) -> io::Result<Infallible> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((socket, client)) => {
                tokio::spawn(serve(socket, config.clone()).instrument(debug_span!("client", %client)));
            }
            Err(error) => {
                // A client that left at once, or no file descriptor free: neither ends a server.
                debug!(%error, "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Serves one client for as long as its connection lives.
async fn serve(socket: TcpStream, config: Config) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "small answers may be slow");
    }
    debug!("connected");
    let mut connection = Connection::new(socket.compat(), config, Mode::Server);
    let ended = poll_fn(|cx| {
        while let Poll::Ready(Ok(stream)) = connection.poll_inbound(cx) {
            let span = debug_span!("stream", id = stream.id());
            tokio::spawn(serve_stream(stream).instrument(span));
        }
        connection.poll(cx)
    });
    match ended.await {
        Ok(()) => debug!("disconnected"),
        Err(error) => debug!(%error, "connection failed"),
    }
}

async fn serve_stream(mut stream: Stream) {
    match echo(&mut stream).await {
        Ok(bytes) => debug!(bytes, "echoed"),
        Err(error) => debug!(%error, "stream failed"),
    }
}

/// Gives back what comes in until the end of the stream, then closes it. Says how many bytes that were.
async fn echo(stream: &mut Stream) -> io::Result<u64> {
    let mut echo = Echo { buffer: [0; 8192], start: 0, end: 0, flushed: true, bytes: 0 };
    poll_fn(|cx| echo.poll(Pin::new(&mut *stream), cx)).await?;
    stream.close().await?;
    Ok(echo.bytes)
}

/// The bytes that have been read and not written yet.
struct Echo {
    buffer: [u8; 8192],
    start: usize,
    end: usize,
    flushed: bool,
    bytes: u64,
}

impl Echo {
    fn poll(&mut self, mut stream: Pin<&mut Stream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.start < self.end {
                self.start += ready!(stream.as_mut().poll_write(cx, &self.buffer[self.start..self.end]))?;
                self.flushed = false;
            }
            match stream.as_mut().poll_read(cx, &mut self.buffer)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(read) => {
                    (self.start, self.end) = (0, read);
                    self.bytes += read as u64;
                }
                Poll::Pending => {
                    // Only now: a flush after each piece would make a stream of many pieces wait for each of them.
                    if !self.flushed {
                        ready!(stream.as_mut().poll_flush(cx))?;
                        self.flushed = true;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
