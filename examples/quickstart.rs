//! Blocking TCP clients driven from async code, each on a lane of its own, beside the same work on
//! a pool with a lock.
//!
//! `cargo run --example quickstart`

use futures::future::{join_all, try_join_all};
use indicatif::{ProgressBar, ProgressStyle};
use serial_executor::SerialExecutor;
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
/// Calls to each client.
const CALLS: u64 = 100;
/// How many tasks share a client. Each has one call in flight.
const TASKS: usize = 5;
/// How long the server takes to reply.
const SERVICE_TIME: Duration = Duration::from_millis(3);

type Lane = SerialExecutor<Client>;
type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<ExitCode, Error> {
    let goodbyes = Arc::new(AtomicUsize::new(0));
    let server = start_server(&goodbyes)?;
    // The bar goes to standard error, and only if that is a terminal. So the output can go to a
    // file.
    let bar = ProgressBar::new(3 * CLIENTS as u64 * CALLS)
        .with_style(ProgressStyle::with_template("{msg:26} {wide_bar} {pos}/{len} calls")?);

    let by_turns = one_after_another(server, &bar)?;
    let by_pool = smol::block_on(pool_and_lock(server, &bar))?;
    let lanes = smol::block_on(open_lanes(server))?;
    let by_lanes = smol::block_on(lane_each(&lanes, &bar))?;
    bar.finish_and_clear();
    print_clients(&by_pool, &by_lanes);
    print_totals(&[&by_turns, &by_pool, &by_lanes]);

    let before = goodbyes.load(SeqCst);
    smol::block_on(close_all(&lanes))?;
    let goodbyes = goodbyes.load(SeqCst) - before;

    let in_turn = |replies: &Vec<Reply>| in_turn(replies) == CALLS;
    let at_home =
        |(replies, lane): (&Vec<Reply>, &Lane)| threads(replies) == [lane.thread().unwrap().id()].into();
    let claims = [
        ("on a lane, each call was served in its turn", by_lanes.replies.iter().all(in_turn)),
        ("one thread touched each client: its lane's", by_lanes.replies.iter().zip(&lanes).all(at_home)),
        ("lanes took less than half the time of one after another", by_lanes.wall * 2 < by_turns.wall),
        ("all lanes are closed, and each client said goodbye to the server", goodbyes == CLIENTS),
    ];
    for (claim, holds) in &claims {
        println!("{:>8} | {claim}", if *holds { "ok" } else { "FALSE" });
    }
    Ok(if claims.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens all lanes at once. Each client connects on its own thread, so no client waits for another.
async fn open_lanes(server: SocketAddr) -> Result<Vec<Lane>, Error> {
    let open = |_| SerialExecutor::try_new_with(move || Client::connect(server));
    Ok(try_join_all((0..CLIENTS).map(open)).await?)
}

/// This is what the crate is for: the blocking client, and a plain future for each call.
async fn lane_each(lanes: &[Lane], bar: &ProgressBar) -> Result<Run, Error> {
    bar.set_message("a lane each");
    let start = Instant::now();
    let runs = lanes.iter().map(|lane| {
        // The first `?` is the lane's (closed, panicked), the second the client's (connection
        // lost).
        drive(bar, async move |n| Ok(lane.call(move |client| ask(client, n)).await??))
    });
    let replies = try_join_all(runs).await?;
    Ok(Run { name: "a lane each", wall: start.elapsed(), replies })
}

/// Resolves when each client has been dropped on its lane. A return from `main` would not wait for
/// that.
async fn close_all(lanes: &[Lane]) -> Result<(), Error> {
    for ended in join_all(lanes.iter().map(Lane::close)).await {
        ended?;
    }
    Ok(())
}

/// The same without lanes: each call goes to any thread of a pool, and waits there for the lock.
async fn pool_and_lock(server: SocketAddr, bar: &ProgressBar) -> Result<Run, Error> {
    bar.set_message("a pool and a lock");
    let clients: Vec<_> = connect_all(server)?.into_iter().map(|c| Arc::new(Mutex::new(c))).collect();
    let start = Instant::now();
    let runs = clients.iter().map(|client| {
        drive(bar, async move |n| {
            let client = Arc::clone(client);
            let call = move || ask(&mut client.lock().unwrap_or_else(PoisonError::into_inner), n);
            Ok(smol::unblock(call).await?)
        })
    });
    let replies = try_join_all(runs).await?;
    Ok(Run { name: "a pool and a lock", wall: start.elapsed(), replies })
}

/// The same without concurrency, to compare with.
fn one_after_another(server: SocketAddr, bar: &ProgressBar) -> Result<Run, Error> {
    bar.set_message("one client after another");
    let mut clients = connect_all(server)?;
    let start = Instant::now();
    let run = |client: &mut Client| (0..CALLS).map(|n| ask(client, n)).inspect(|_| bar.inc(1)).collect();
    let replies = clients.iter_mut().map(run).collect::<io::Result<_>>()?;
    Ok(Run { name: "one client after another", wall: start.elapsed(), replies })
}

fn connect_all(server: SocketAddr) -> io::Result<Vec<Client>> {
    (0..CLIENTS).map(|_| Client::connect(server)).collect()
}

/// Makes the calls to one client from several tasks at once, and numbers them in this order.
async fn drive(
    bar: &ProgressBar,
    call: impl AsyncFn(u64) -> Result<Reply, Error>,
) -> Result<Vec<Reply>, Error> {
    let next = Cell::new(0);
    let task = async |_| {
        let mut replies = Vec::new();
        while next.get() < CALLS {
            replies.push(call(next.replace(next.get() + 1)).await?);
            bar.inc(1);
        }
        Ok::<_, Error>(replies)
    };
    Ok(try_join_all((0..TASKS).map(task)).await?.concat())
}

/// What each call does, on whichever thread it runs.
fn ask(client: &mut Client, n: u64) -> io::Result<Reply> {
    let served = client.requests;
    let answer = client.square(n)?;
    if answer != n * n {
        return Err(io::Error::other(format!("{answer} is not the square of {n}")));
    }
    Ok(Reply { made: n, served, thread: thread::current().id() })
}

#[derive(Clone)]
struct Reply {
    /// How many calls to the client were made before this one.
    made: u64,
    /// How many calls the client served before this one.
    served: u64,
    thread: ThreadId,
}

fn in_turn(replies: &[Reply]) -> u64 {
    replies.iter().map(|reply| u64::from(reply.made == reply.served)).sum()
}

fn threads(replies: &[Reply]) -> HashSet<ThreadId> {
    replies.iter().map(|reply| reply.thread).collect()
}

/// What came of the calls, made in one of the three ways.
struct Run {
    name: &'static str,
    wall: Duration,
    /// For each client.
    replies: Vec<Vec<Reply>>,
}

fn print_clients(pool: &Run, lane: &Run) {
    let service = SERVICE_TIME.as_millis();
    println!("{CLIENTS} clients, {CALLS} calls to each from {TASKS} tasks, {service} ms for a reply\n");
    println!("{:>8} | {:^23} | {:^36}", "client", pool.name, lane.name);
    println!("{:>8} | {1:>7}  {2:>14} | {1:>7}  {2:>14}  thread", "", "threads", "served in turn");
    for (number, (pool, lane)) in pool.replies.iter().zip(&lane.replies).enumerate() {
        let columns = |of| format!("{:>7}  {:>10}/{CALLS}", threads(of).len(), in_turn(of));
        println!("{number:>8} | {} | {}  {:?}", columns(pool), columns(lane), lane[0].thread);
    }
}

fn print_totals(runs: &[&Run]) {
    println!("\n{:>26} | wall time  threads", "");
    for run in runs {
        let threads: HashSet<_> = run.replies.iter().flat_map(|replies| threads(replies)).collect();
        println!("{:>26} | {:>7.2} s  {:>7}", run.name, run.wall.as_secs_f64(), threads.len());
    }
    println!();
}

/// A client like many: it blocks, and one thread at a time may use it. It knows nothing of lanes.
struct Client {
    connection: BufReader<TcpStream>,
    /// The number of the last request. Its reply carries the same number.
    requests: u64,
    reply: String,
}

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let connection = BufReader::new(TcpStream::connect(address)?);
        Ok(Self { connection, requests: 0, reply: String::new() })
    }

    fn square(&mut self, n: u64) -> io::Result<u64> {
        self.request(&format!("square {n}"))?.parse().map_err(io::Error::other)
    }

    fn request(&mut self, what: &str) -> io::Result<&str> {
        self.requests += 1;
        let line = format!("{} {what}\n", self.requests);
        self.connection.get_mut().write_all(line.as_bytes())?;
        self.reply.clear();
        self.connection.read_line(&mut self.reply)?;
        match self.reply.trim_end().split_once(' ') {
            Some((number, answer)) if number.parse() == Ok(self.requests) => Ok(answer),
            _ => Err(io::Error::other(format!("{:?} is not the reply to {line:?}", self.reply))),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Says goodbye and waits for the reply. It may fail: the connection may be lost.
        let _ = self.request("quit");
    }
}

/// The server of the clients. It answers lines, with a thread for each connection.
fn start_server(goodbyes: &Arc<AtomicUsize>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let goodbyes = Arc::clone(goodbyes);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let goodbyes = Arc::clone(&goodbyes);
            thread::spawn(move || serve(connection, &goodbyes));
        }
    });
    Ok(address)
}

fn serve(mut connection: TcpStream, goodbyes: &AtomicUsize) -> io::Result<()> {
    for line in BufReader::new(connection.try_clone()?).lines() {
        let line = line?;
        let (number, request) = line.split_once(' ').unwrap_or_default();
        let answer = match request.strip_prefix("square ").and_then(|n| n.parse::<u64>().ok()) {
            Some(n) => (n * n).to_string(),
            None => format!("goodbye {}", goodbyes.fetch_add(1, SeqCst)),
        };
        thread::sleep(SERVICE_TIME);
        connection.write_all(format!("{number} {answer}\n").as_bytes())?;
    }
    Ok(())
}
