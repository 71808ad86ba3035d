//! What a connection reads and writes: a transport over two directions of a link, with the habits of real ones.

use crate::chance::Chance;
use crate::clock::Sleep;
use crate::signs::Signs;
use crate::wire::Wire;
use crate::world::World;
use futures::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// When a flush is Ready.
#[derive(Clone, Copy, Debug)]
pub enum Flush {
    AtOnce,
    /// So long after it was asked for.
    After(Duration),
    /// When the socket has sent everything.
    WhenEmpty,
}

/// What a reader sees when the other end has shut its side, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Eof,
    /// An error in place of that.
    Fails(io::ErrorKind),
    /// An end of file once the other end is gone. That it has shut its side is not told.
    OnlyWhenGone,
}

#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub flush: Flush,
    pub ending: Ending,
    /// Bytes that are held until a flush, or until there are too many of them.
    pub staging: usize,
    /// Reads and writes move less than they could, once in so many times; 0 is never.
    pub fragments: u64,
    /// A poll that could be Ready is not, once in so many times; 0 is never.
    pub hesitates: u64,
    /// Writing fails once the other end is gone, and all that it sent has arrived.
    pub refuses: bool,
}

impl Habits {
    pub fn draw(chance: &mut Chance) -> Self {
        let millis = Duration::from_millis;
        let flushes =
            [Flush::AtOnce, Flush::AtOnce, Flush::WhenEmpty, Flush::After(millis(5)), Flush::After(millis(100))];
        let endings = [
            Ending::Eof,
            Ending::Eof,
            Ending::OnlyWhenGone,
            Ending::Fails(io::ErrorKind::UnexpectedEof),
            Ending::Fails(io::ErrorKind::ConnectionReset),
        ];
        Self {
            flush: chance.pick_allowed(&flushes),
            ending: chance.pick_allowed(&endings),
            staging: chance.pick(&[0, 0, 1_000, 64_527]),
            fragments: chance.pick(&[0, 2, 5]),
            hesitates: chance.pick(&[0, 0, 10]),
            refuses: chance.of(2),
        }
    }
}

pub struct Transport {
    world: World,
    habits: Habits,
    chance: Chance,
    inward: Rc<RefCell<Wire>>,
    outward: Rc<RefCell<Wire>>,
    staged: Vec<u8>,
    /// Something was written after the last flush.
    dirty: bool,
    flushing: Option<Sleep>,
    /// It has told its end.
    over: bool,
    signs: Rc<RefCell<Signs>>,
}

impl Transport {
    pub fn new(
        world: &World,
        habits: Habits,
        [inward, outward]: [&Rc<RefCell<Wire>>; 2],
        signs: Rc<RefCell<Signs>>,
        chance: &mut Chance,
    ) -> Self {
        Self {
            world: world.clone(),
            habits,
            chance: chance.fork(),
            inward: inward.clone(),
            outward: outward.clone(),
            staged: Vec::new(),
            dirty: false,
            flushing: None,
            over: false,
            signs,
        }
    }

    fn hesitate(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.habits.hesitates > 0 && self.chance.of(self.habits.hesitates) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// How many of so many bytes are moved.
    fn fragment(&mut self, most: usize) -> usize {
        let parts = self.habits.fragments > 0 && self.chance.of(self.habits.fragments);
        if parts { 1 + self.chance.below(most as u64) as usize } else { most }.min(most)
    }

    /// Moves what is staged to the socket.
    fn commit(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut outward = self.outward.borrow_mut();
        while !self.staged.is_empty() {
            outward.broken()?;
            let len = self.staged.len().min(outward.room());
            if len == 0 {
                outward.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            outward.write(&self.staged[..len]);
            self.staged.drain(..len);
        }
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, cx: &Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = self.take(cx, bufs);
        let (now, mut signs) = (self.world.now(), self.signs.borrow_mut());
        signs.on_write(polled.is_ready(), now);
        drop(signs);
        polled
    }

    fn take(&mut self, cx: &Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.hesitate(cx));
        self.outward.borrow().broken()?;
        // The refusal does not overtake what was sent before.
        if self.habits.refuses && !self.outward.borrow().has_reader() && self.inward.borrow().has_ended() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let room = if self.habits.staging > 0 {
            if self.staged.len() >= self.habits.staging {
                ready!(self.commit(cx))?;
            }
            self.habits.staging - self.staged.len()
        } else {
            self.outward.borrow().room()
        };
        if room == 0 && len > 0 {
            self.outward.borrow_mut().writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = self.fragment(len.min(room));
        let mut left = len;
        for buf in bufs {
            let piece = &buf[..left.min(buf.len())];
            left -= piece.len();
            if self.habits.staging > 0 {
                self.staged.extend_from_slice(piece);
            } else if !piece.is_empty() {
                self.outward.borrow_mut().write(piece);
            }
        }
        self.dirty |= len > 0;
        Poll::Ready(Ok(len))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outward.borrow().broken()?;
        if !self.dirty {
            return Poll::Ready(Ok(()));
        }
        if let Flush::After(time) = self.habits.flush {
            let timers = self.world.timers();
            let at = timers.now() + time;
            let alarm = self.flushing.get_or_insert_with(|| timers.sleep_until(at));
            ready!(Pin::new(alarm).poll(cx));
        }
        ready!(self.commit(cx))?;
        if let Flush::WhenEmpty = self.habits.flush
            && !self.outward.borrow().has_left()
        {
            self.outward.borrow_mut().writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        (self.flushing, self.dirty) = (None, false);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        assert!(!this.over, "a transport is read after its end");
        ready!(this.hesitate(cx));
        let inward = this.inward.clone();
        let mut inward = inward.borrow_mut();
        if inward.broken().is_err() || inward.is_over() {
            this.over = true;
            inward.broken()?;
            return Poll::Ready(match this.habits.ending {
                Ending::Eof | Ending::OnlyWhenGone => Ok(0),
                Ending::Fails(kind) => Err(kind.into()),
            });
        }
        let most = buf.len().min(inward.unread());
        if most == 0 && !buf.is_empty() {
            inward.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = this.fragment(most);
        inward.read(&mut buf[..len]);
        this.signs.borrow_mut().on_read(this.world.now());
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = this.flush(cx);
        let now = this.world.now();
        // Bytes that are not flushed wait as well.
        this.signs.borrow_mut().on_flush(polled.is_ready(), now);
        polled
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        if self.habits.ending != Ending::OnlyWhenGone {
            self.outward.borrow_mut().end();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.outward.borrow_mut().end();
        self.inward.borrow_mut().leave_reader();
    }
}
