//! A server on the loopback interface that does to each request what the request asks for.

use super::fault::{Fault, Request};
use crate::support::{Dice, LIMIT};
use socket2::SockRef;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Below the ports that systems give to outgoing connections. So none of those takes the port while
/// the server is away, and no client that tries to connect meanwhile connects to itself.
const PORTS: Range<u16> = 10_000..30_000;

/// The server's side of a protocol, on one connection.
pub(super) trait Protocol: Send + 'static {
    /// Reads the next request of a test. Answers any other request itself.
    fn request(&mut self, stream: &mut TcpStream) -> io::Result<Request>;

    /// The answer that the request should get.
    fn answer(&mut self, request: Request) -> io::Result<Vec<u8>>;

    /// What the server sends instead of an answer: garbage, too much, or something on which the
    /// client panics.
    fn nonsense(&mut self, request: Request, dice: &mut Dice) -> Vec<u8>;

    /// Waits until the connection is shut down.
    fn stall(&mut self, stream: &mut TcpStream);
}

/// A server. It ends when this is dropped.
pub(super) struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// How often it went away or came back: odd while it is away.
    turns: u64,
    /// How many clients have said that they were refused.
    refusals: u64,
    /// While away: how many refusals it waits for before it comes back.
    patience: u64,
    /// Whether it stays up from now on.
    healed: bool,
    ending: bool,
    /// The connections, so that other threads than those that serve them can shut them down.
    streams: HashMap<u64, TcpStream>,
    accepted: u64,
    /// The ids of the requests that came, in order.
    seen: Vec<u64>,
    /// The request that was answered last.
    last: Option<Request>,
    stalled: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Up,
    /// Going away.
    Dying,
    Away,
}

impl Server {
    /// `protocol` is called for each connection.
    pub(super) fn start<P: Protocol>(protocol: impl Fn() -> P + Send + 'static) -> Self {
        let (listener, address) = loop {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
            match TcpListener::bind(address) {
                Ok(listener) => break (listener, address),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}"),
            }
        };
        let shared = Arc::new(Shared { address, state: Mutex::default(), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || listen(&of_thread, listener, protocol)));
        Self { shared, thread }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Odd while the server is away. If it is even and the same before and after something, the
    /// server was there.
    pub(super) fn turns(&self) -> u64 {
        self.shared.state().turns
    }

    /// A client was refused. The server comes back when that has happened a few times.
    pub(super) fn has_refused(&self) {
        self.shared.state().refusals += 1;
        self.shared.changed.notify_all();
    }

    /// Returns when the server is there. It does not go away again.
    pub(super) fn heal(&self) {
        self.shared.state().healed = true;
        self.shared.changed.notify_all();
        drop(self.shared.wait(|state| state.phase == Phase::Up));
    }

    /// The ids of the requests that came, in order.
    pub(super) fn seen(&self) -> Vec<u64> {
        self.shared.state().seen.clone()
    }

    /// How many connections there were.
    pub(super) fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.state().streams.len()
    }

    /// How many requests wait for an answer that does not come.
    pub(super) fn stalled(&self) -> usize {
        self.shared.state().stalled
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ending = true;
        state.shut_down();
        drop(state);
        self.shared.changed.notify_all();
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            // If it panicked, the test has failed already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits, with a watchdog, until the condition holds.
    fn wait(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let (state, waited) =
            self.changed.wait_timeout_while(self.state(), LIMIT, |state| !condition(state)).unwrap();
        assert!(!waited.timed_out(), "the server waits for ever");
        state
    }

    /// Wakes the listener, so that it checks the state.
    fn ring(&self) {
        // Fails if nobody listens. Before the listener accepts connections again, it checks the state.
        let _ = TcpStream::connect(self.address);
    }

    /// Returns when nobody listens any more, and all connections are lost.
    fn die(&self, patience: u64) {
        let mut state = self.state();
        if state.phase != Phase::Up || state.healed {
            return;
        }
        state.phase = Phase::Dying;
        state.turns += 1;
        state.patience = state.refusals + patience;
        let turns = state.turns;
        drop(state);
        self.ring();
        drop(self.wait(|state| state.phase == Phase::Away || state.turns != turns || state.ending));
    }
}

impl State {
    fn shut_down(&self) {
        for stream in self.streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Listens until the server ends, with breaks.
fn listen<P: Protocol>(shared: &Arc<Shared>, mut listener: TcpListener, protocol: impl Fn() -> P) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    loop {
        accept(shared, &listener, &protocol, &mut threads);
        drop(listener);
        let mut state = shared.state();
        state.shut_down();
        state.phase = Phase::Away;
        drop(state);
        shared.changed.notify_all();
        let state = shared.wait(|state| state.refusals >= state.patience || state.healed || state.ending);
        if state.ending {
            break;
        }
        drop(state);
        let start = Instant::now();
        listener = loop {
            match TcpListener::bind(shared.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(start.elapsed() < LIMIT, "{error}"),
            }
            thread::yield_now();
        };
        let mut state = shared.state();
        // Until it listened again, nobody could ring.
        if state.ending {
            break;
        }
        state.phase = Phase::Up;
        state.turns += 1;
        drop(state);
        shared.changed.notify_all();
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Accepts connections until the server dies or ends.
fn accept<P: Protocol>(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    protocol: impl Fn() -> P,
    threads: &mut Vec<JoinHandle<()>>,
) {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut state = shared.state();
        if state.phase == Phase::Dying || state.ending {
            return;
        }
        state.accepted += 1;
        let number = state.accepted;
        state.streams.insert(number, stream.try_clone().unwrap());
        drop(state);
        let (of_thread, protocol) = (Arc::clone(shared), protocol());
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread::spawn(move || {
            let mut connection = Connection { shared: of_thread, number, stream, protocol };
            // Usually an error: the client has left.
            let _ = connection.serve();
        }));
    }
}

struct Connection<P> {
    shared: Arc<Shared>,
    number: u64,
    stream: TcpStream,
    protocol: P,
}

impl<P: Protocol> Connection<P> {
    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        loop {
            let request = self.protocol.request(&mut self.stream)?;
            self.shared.state().seen.push(request.id);
            if !self.obey(request)? {
                return Ok(());
            }
        }
    }

    /// Does what the request asks for, and returns whether the connection goes on.
    fn obey(&mut self, request: Request) -> io::Result<bool> {
        let mut dice = request.dice();
        match request.fault {
            Fault::Now => self.answer(request)?,
            Fault::Late => {
                thread::sleep(Duration::from_micros(dice.roll(1000)));
                self.answer(request)?;
            }
            Fault::SingleBytes => {
                for byte in self.protocol.answer(request)? {
                    self.stream.write_all(&[byte])?;
                }
            }
            Fault::ThenClose => {
                self.answer(request)?;
                return Ok(false);
            }
            Fault::ThenHalfClose => {
                self.answer(request)?;
                self.stream.shutdown(Shutdown::Write)?;
            }
            Fault::ThenAgain => {
                let answer = self.protocol.answer(request)?;
                self.stream.write_all(&answer.repeat(2))?;
            }
            Fault::Stall => {
                self.shared.state().stalled += 1;
                self.protocol.stall(&mut self.stream);
                self.shared.state().stalled -= 1;
                return Ok(false);
            }
            Fault::Reset => {
                self.reset()?;
                return Ok(false);
            }
            Fault::HalfClose => {
                self.stream.shutdown(Shutdown::Write)?;
                drain(&mut self.stream);
                return Ok(false);
            }
            Fault::Cut => {
                let answer = self.protocol.answer(request)?;
                self.stream.write_all(&answer[..dice.pick(answer.len())])?;
                if dice.roll(2) == 0 {
                    self.reset()?;
                }
                return Ok(false);
            }
            Fault::Stranger => {
                // An earlier request, if there was one.
                let last = self.shared.state().last;
                let other = if dice.roll(2) == 0 { last } else { None };
                let answer = self.protocol.answer(other.unwrap_or_else(|| request.stranger()))?;
                self.stream.write_all(&answer)?;
            }
            Fault::Garbage | Fault::Oversized | Fault::Poisonous => {
                let nonsense = self.protocol.nonsense(request, &mut dice);
                self.stream.write_all(&nonsense)?;
            }
            Fault::Die => {
                self.shared.die(1 + dice.roll(3));
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn answer(&mut self, request: Request) -> io::Result<()> {
        let answer = self.protocol.answer(request)?;
        self.shared.state().last = Some(request);
        self.stream.write_all(&answer)
    }

    /// From here on, to close the connection is to reset it.
    fn reset(&self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

impl<P> Drop for Connection<P> {
    fn drop(&mut self) {
        // The last but one of its handles. The stream itself is dropped after this, which closes
        // the connection.
        let stream = self.shared.state().streams.remove(&self.number);
        drop(stream);
    }
}

/// Reads until the end of the connection.
pub(super) fn drain(stream: &mut TcpStream) {
    let mut bytes = [0; 64];
    while matches!(stream.read(&mut bytes), Ok(count) if count > 0) {}
}
