//! Whether a path is what it is said to be: measured with plain sockets before anything else uses it.

use super::path::{Congestion, FAR, Link, NEAR, Path};
use super::relay::MTU;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, tcp_congestion};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Small messages; the median counts.
const MESSAGES: usize = 9;

/// How long datagrams are sent, at the least.
const SENDING: Duration = Duration::from_millis(600);

/// How much faster than the link.
const EXCESS: f64 = 1.15;

/// Headers of IP and UDP.
const HEADERS: usize = 28;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub round_trip: Duration,
    /// Of packets, in bit/s; the lower one of both directions.
    pub rate: f64,
}

impl Measured {
    /// Whether that is the link: the round trip within a millisecond and 5 %, the rate within 4 %.
    pub fn is(&self, link: &Link) -> bool {
        let longest = link.round_trip.mul_f64(1.05) + Duration::from_millis(1);
        let rate = link.bits_per_second as f64;
        (link.round_trip..=longest).contains(&self.round_trip) && (rate * 0.96..=rate * 1.04).contains(&self.rate)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} Mbit/s, {:.1} ms", self.rate / 1e6, self.round_trip.as_secs_f64() * 1e3)
    }
}

/// Measures a path that nothing else uses.
pub fn measure(path: &Path, link: &Link, congestion: Congestion) -> io::Result<Measured> {
    let (near, far) = path.connect()?;
    for socket in [&near, &far] {
        let used = tcp_congestion(socket)?;
        if used != congestion.name() {
            return Err(io::Error::other(format!("TCP uses {used}")));
        }
    }
    let round_trip = round_trip(near, far)?;
    let (near, far) = (path.near.inside(|| socket(NEAR))?, path.far.inside(|| socket(FAR))?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    let rate = rate(&near, &far, link)?.min(rate(&far, &near, link)?);
    Ok(Measured { round_trip, rate })
}

fn round_trip(mut near: TcpStream, mut far: TcpStream) -> io::Result<Duration> {
    let mut times = Vec::new();
    thread::scope(|scope| {
        let echo = scope.spawn(move || {
            for _ in 0..MESSAGES {
                let mut message = [0; 64];
                far.read_exact(&mut message)?;
                far.write_all(&message)?;
            }
            io::Result::Ok(())
        });
        for _ in 0..MESSAGES {
            let start = Instant::now();
            near.write_all(&[0; 64])?;
            near.read_exact(&mut [0; 64])?;
            times.push(start.elapsed());
        }
        echo.join().expect("no panic")
    })?;
    times.sort_unstable();
    Ok(times[MESSAGES / 2])
}

fn socket(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 0))?;
    // What arrives while the reader waits for a core has arrived.
    set_socket_recv_buffer_size_force(&socket, 8 << 20)?;
    // Nothing comes for so long when all has arrived: longer than any queue here takes.
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(socket)
}

/// Sends somewhat faster than the link, and counts what arrives.
fn rate(from: &UdpSocket, to: &UdpSocket, link: &Link) -> io::Result<f64> {
    let datagram = vec![0; usize::from(MTU) - HEADERS];
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let (start, mut sent) = (Instant::now(), 0);
            // At least some packets, on a slow link.
            while start.elapsed() < SENDING || sent < 50 {
                let due = (link.bytes_in(start.elapsed()) * EXCESS) as usize / usize::from(MTU);
                while sent <= due {
                    // A full socket buffer drops, and so it must not be counted as sent.
                    sent += usize::from(from.send(&datagram).is_ok());
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        let mut buffer = vec![0; usize::from(MTU)];
        let (mut first, mut last, mut bytes) = (None, Instant::now(), 0);
        while let Ok(length) = to.recv(&mut buffer) {
            last = Instant::now();
            // The time of the first packet is not in what is measured.
            match first {
                None => first = Some(last),
                Some(_) => bytes += length + HEADERS,
            }
        }
        sending.join().expect("no panic");
        let first = first.ok_or_else(|| io::Error::other("no packet came through"))?;
        Ok(bytes as f64 * 8.0 / (last - first).as_secs_f64())
    })
}
