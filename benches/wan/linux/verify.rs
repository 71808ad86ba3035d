//! Whether a path is what it is said to be: measured with plain sockets before anything else uses it.

use super::path::{Congestion, Link, Path};
use super::relay::MTU;
use rustix::net::sockopt::tcp_congestion;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Small messages; the fastest counts: those after it tell how soon a thread gets a core.
const MESSAGES: usize = 15;

/// How long a transfer takes, at the least.
const LEAST: Duration = Duration::from_millis(2500);
const ROUND_TRIPS: u32 = 40;

/// The rate is that of one in so long, longer than pauses of a sender or a relay that waits for a core.
const WINDOW: Duration = Duration::from_millis(250);

/// What of a packet is not headers of IP and TCP, with time stamps.
const SEGMENT: u16 = MTU - 52;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub round_trip: Duration,
    /// Of packets, in bit/s while a transfer over plain TCP fills it.
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
    let (near, far) = path.connect()?;
    Ok(Measured { round_trip, rate: rate(near, far, link)? })
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
    Ok(times.into_iter().min().unwrap_or_default())
}

/// At which rate a transfer arrives, headers included.
fn rate(mut near: TcpStream, mut far: TcpStream, link: &Link) -> io::Result<f64> {
    let time = LEAST.max(link.round_trip * ROUND_TRIPS);
    far.set_read_timeout(Some(time))?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let start = Instant::now();
            while start.elapsed() < time && near.write_all(&[0; 64 * 1024]).is_ok() {}
        });
        let mut buffer = vec![0; 256 * 1024];
        let (mut rates, mut bytes, mut start) = (Vec::new(), 0, Instant::now());
        loop {
            let read = far.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            bytes += read;
            let time = start.elapsed();
            if time >= WINDOW {
                rates.push(bytes as f64 * 8.0 / time.as_secs_f64());
                (bytes, start) = (0, Instant::now());
            }
        }
        sending.join().expect("no panic");
        // The link is not full at first, nor after a loss; what the loss held up then comes all at once.
        let mut late = rates.split_off(rates.len() / 2);
        late.sort_by(f64::total_cmp);
        let typical = late.get(late.len() / 2).ok_or_else(|| io::Error::other("nothing came through"))?;
        Ok(typical * f64::from(MTU) / f64::from(SEGMENT))
    })
}
