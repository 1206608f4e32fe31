//! A TCP client that arms itself: as soon as there is a socket, the token of the call knows how to
//! shut it down. So a call may be dropped at any moment, and its lane is free at once.

use crate::support::{Dice, RUNTIMES, eventually, under_every_runtime};
use crate::variable::variable;
use serial_executor::{CancelToken, SerialExecutor};
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a call may take to end when it is told to.
const A_SECOND: Duration = Duration::from_secs(1);

/// How often a call is dropped, under all runtimes together. The variable `TCP_ROUNDS` sets another
/// number. Without optimisation 10,000 take a minute.
const ROUNDS: u64 = if cfg!(debug_assertions) { 2_000 } else { 10_000 };

/// Has a socket shut down when the running call is told to stop.
fn arm(socket: &Socket) -> io::Result<()> {
    let outside = socket.try_clone()?;
    // An error means that it is shut down already.
    let shut_down = move || drop(outside.shutdown(Shutdown::Both));
    CancelToken::current().expect("a lane runs this").on_cancel(shut_down);
    Ok(())
}

/// Connects, and arms the socket.
///
/// The shutdown of a socket that does not connect yet has no effect, and the connect would then
/// wait. So on Linux the socket is armed when it has begun to connect, and before anything waits
/// for that: the first write does.
fn connect(server: SocketAddr) -> io::Result<Socket> {
    /// The error of a connect that has begun.
    const EINPROGRESS: i32 = 115;

    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_nonblocking(cfg!(target_os = "linux"))?;
    match socket.connect(&server.into()) {
        Err(error) if cfg!(target_os = "linux") && error.raw_os_error() == Some(EINPROGRESS) => {}
        connected => connected?,
    }
    arm(&socket)?;
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// A blocking client that connects when it has no connection.
struct Client {
    server: SocketAddr,
    connection: Option<BufReader<Socket>>,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        Self { server, connection: None }
    }

    fn open(server: SocketAddr) -> io::Result<Self> {
        let mut client = Self::new(server);
        client.ask("hello")?;
        Ok(client)
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        let mut connection = match self.connection.take() {
            Some(connection) => {
                arm(connection.get_ref())?;
                connection
            }
            None => BufReader::new(connect(self.server)?),
        };
        connection.get_mut().write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        if connection.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        // After an error it is not kept: the next call connects.
        self.connection = Some(connection);
        Ok(answer.trim_end().to_owned())
    }
}

/// Answers every line, except "silence".
struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    /// How many connections there are.
    open: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_over, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = thread::spawn({
            let (is_over, open) = (Arc::clone(&is_over), Arc::clone(&open));
            move || {
                for stream in listener.incoming() {
                    if is_over.load(SeqCst) {
                        return;
                    }
                    let open = Arc::clone(&open);
                    open.fetch_add(1, SeqCst);
                    thread::spawn(move || {
                        let _ = answer(&stream.unwrap());
                        open.fetch_sub(1, SeqCst);
                    });
                }
            }
        });
        Self { address, is_over, open, thread: Some(thread) }
    }
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line != "silence" {
            writeln!(stream, "you said: {line}")?;
        }
    }
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[apply(test)]
fn a_call_that_waits_for_a_silent_server_ends_at_whatever_moment_it_is_dropped() {
    under_every_runtime(|| async {
        let (server, mut dice, mut worst) = (Server::start(), Dice::new(0), Duration::ZERO);
        let lane = SerialExecutor::new(Client::new(server.address));
        let rounds = variable("TCP_ROUNDS").unwrap_or(ROUNDS).div_ceil(RUNTIMES.len() as u64);
        assert!(rounds > 0, "TCP_ROUNDS is 1 at least");
        let mut started = 0;
        for round in 0..rounds {
            let (end, ended) = mpsc::channel();
            let unanswered = lane.call(move |client| {
                let answer = client.ask("silence");
                end.send((answer.is_err(), Instant::now())).unwrap();
            });
            let next = lane.call(move |client| client.ask(&round.to_string()));
            if round % 4 > 0 {
                eventually("it has started", || lane.pending() < 2);
            }
            dice.pause();
            let start = Instant::now();
            drop(unanswered);
            let answer = next.await.unwrap().unwrap();
            assert_eq!(answer, format!("you said: {round}"), "the next call was hit");
            // If it was queued when it was dropped, it has not run.
            if let Ok((is_error, end)) = ended.try_recv() {
                assert!(is_error);
                started += 1;
                worst = worst.max(end.saturating_duration_since(start));
            }
        }
        println!("  {rounds} rounds, {started} calls ran, the slowest for {worst:?} after its drop");
        // Three quarters of them are dropped when they have started.
        assert!(started >= rounds - rounds.div_ceil(4));
        assert!(worst < A_SECOND, "{worst:?}");
        lane.close().await.unwrap();
        eventually("every connection is closed", || server.open.load(SeqCst) == 0);
    });
}

#[apply(test)]
fn whoever_interrupts_a_call_reads_its_error() {
    under_every_runtime(|| async {
        let (server, mut dice) = (Server::start(), Dice::new(0));
        let lane = SerialExecutor::new(Client::new(server.address));
        for round in 0..100 {
            let unanswered = lane.call(|client| client.ask("silence"));
            let next = lane.call(move |client| client.ask(&round.to_string()));
            eventually("it has started", || lane.pending() < 2);
            dice.pause();
            unanswered.interrupt();
            assert!(unanswered.await.unwrap().is_err());
            assert_eq!(next.await.unwrap().unwrap(), format!("you said: {round}"));
        }
        lane.close().await.unwrap();
    });
}

/// A listener whose queue is full: on Linux, whoever connects waits for minutes.
#[cfg(target_os = "linux")]
struct Full {
    listener: Socket,
    _queued: Vec<Socket>,
}

#[cfg(target_os = "linux")]
impl Full {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let connected = socket.connect_timeout(&address, Duration::from_millis(100));
            if connected.is_err() {
                return Self { listener, _queued: queued };
            }
            queued.push(socket);
        }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}

#[cfg(target_os = "linux")]
#[apply(test)]
fn a_connect_that_hangs_ends_at_whatever_moment_its_call_is_dropped() {
    under_every_runtime(|| async {
        let (full, mut dice, mut worst) = (Full::new(), Dice::new(0), Duration::ZERO);
        let lane = SerialExecutor::new(Client::new(full.address()));
        for _ in 0..100 {
            let hangs = lane.call(|client| client.ask("hello"));
            eventually("it has started", || lane.pending() == 0);
            dice.pause();
            let start = Instant::now();
            drop(hangs);
            lane.call(|_| ()).await.unwrap();
            worst = worst.max(start.elapsed());
        }
        assert!(worst < A_SECOND, "{worst:?}");
        lane.close().await.unwrap();
    });
}

/// The thread and the socket of an opening that is dropped are gone at once.
#[cfg(target_os = "linux")]
#[apply(test)]
fn a_connect_that_hangs_in_a_factory_ends_when_its_opening_is_dropped_or_its_lane_aborted() {
    under_every_runtime(|| async {
        struct Gone(mpsc::Sender<()>);
        impl Drop for Gone {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (full, mut dice) = (Full::new(), Dice::new(0));
        let address = full.address();
        for _ in 0..30 {
            let (gone, is_gone) = mpsc::channel();
            let gone = Gone(gone);
            let opening = SerialExecutor::try_new_with(move || {
                let _gone = gone;
                Client::open(address)
            });
            dice.pause();
            drop(opening);
            is_gone.recv_timeout(A_SECOND).unwrap();

            // A replacement connects in the same way.
            let lane = SerialExecutor::new(Client::new(address));
            let replaced = lane.try_replace(move || Client::open(address));
            eventually("it has started", || lane.pending() == 0);
            dice.pause();
            let start = Instant::now();
            lane.abort().await.unwrap();
            assert!(replaced.await.unwrap().is_err());
            assert!(start.elapsed() < A_SECOND);
        }
    });
}
