//! The object under test: a cursor that waits, fails and panics when the test says so, and keeps a
//! log.

use crate::support::eventually;
use serial_executor::SerialExecutor;
use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// What was done to the device, successfully.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Read(Vec<u8>),
    Wrote(Vec<u8>),
    Flushed,
    Sought(SeekFrom),
}

/// What the device does before it reads, writes, flushes or seeks. `Ok` is how many bytes it may
/// move.
type Order = Box<dyn FnOnce() -> io::Result<usize> + Send>;

pub(super) struct Device {
    cursor: Cursor<Vec<u8>>,
    remote: Remote,
}

/// Controls a device from outside its lane.
#[derive(Clone)]
pub(super) struct Remote(Arc<(Mutex<State>, Condvar)>);

struct State {
    orders: VecDeque<Order>,
    log: Vec<Did>,
    /// How many operations it may start.
    permits: usize,
    blocked: bool,
    /// How many bytes it moves at a time.
    chunk: usize,
}

impl Device {
    /// The device, with any number of permits, and its remote control.
    pub(super) fn new(bytes: impl Into<Vec<u8>>) -> (Self, Remote) {
        let state = State {
            orders: VecDeque::new(),
            log: Vec::new(),
            permits: usize::MAX,
            blocked: false,
            chunk: usize::MAX,
        };
        let remote = Remote(Arc::new((Mutex::new(state), Condvar::new())));
        (Self { cursor: Cursor::new(bytes.into()), remote: remote.clone() }, remote)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.cursor.into_inner()
    }
}

impl Remote {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Says what the next operation does, of those that have no order yet.
    pub(super) fn next(&self, order: impl FnOnce() -> io::Result<usize> + Send + 'static) {
        self.state().orders.push_back(Box::new(order));
    }

    /// Makes the next operation fail, of those that have no order yet.
    pub(super) fn fail(&self, message: &'static str) {
        self.next(move || Err(io::Error::other(message)));
    }

    pub(super) fn log(&self) -> Vec<Did> {
        self.state().log.clone()
    }

    pub(super) fn set_permits(&self, permits: usize) {
        self.state().permits = permits;
        self.0.1.notify_all();
    }

    pub(super) fn set_chunk(&self, chunk: usize) {
        self.state().chunk = chunk;
    }

    /// Lets the device start one more operation. Returns when it has nothing to do, or waits for a
    /// permit again.
    pub(super) fn permit_one(&self, lane: &SerialExecutor<Device>) {
        self.set_permits(1);
        eventually("the device comes to rest", || {
            let stats = lane.stats();
            let state = self.state();
            (stats.pending == 0 && !stats.running) || (state.blocked && state.permits == 0)
        });
    }

    /// Waits until the device waits for a permit.
    pub(super) fn blocked(&self) {
        eventually("the device waits for a permit", || self.state().blocked);
    }

    fn obey(&self) -> io::Result<usize> {
        let mut state = self.state();
        while state.permits == 0 {
            state.blocked = true;
            state = self.0.1.wait(state).unwrap();
        }
        state.blocked = false;
        if state.permits < usize::MAX {
            state.permits -= 1;
        }
        let (order, chunk) = (state.orders.pop_front(), state.chunk);
        drop(state);
        order.map_or(Ok(chunk), |order| order())
    }

    fn did(&self, did: Did) {
        self.state().log.push(did);
    }
}

impl Read for Device {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let limit = self.remote.obey()?.min(room.len());
        let amount = self.cursor.read(&mut room[..limit])?;
        self.remote.did(Did::Read(room[..amount].to_vec()));
        Ok(amount)
    }
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limit = self.remote.obey()?.min(bytes.len());
        let amount = self.cursor.write(&bytes[..limit])?;
        self.remote.did(Did::Wrote(bytes[..amount].to_vec()));
        Ok(amount)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.remote.obey()?;
        self.remote.did(Did::Flushed);
        Ok(())
    }
}

impl Seek for Device {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.remote.obey()?;
        let position = self.cursor.seek(to)?;
        self.remote.did(Did::Sought(to));
        Ok(position)
    }
}
