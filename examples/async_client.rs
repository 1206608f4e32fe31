//! A blocking client that must stay on its thread, made into an async client for a library that leaves the
//! runtime to its users. One program then uses it under smol, async-std and tokio.
//!
//! `cargo run --example async_client`

use client::Client;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{BoxFuture, Either, FutureExt, join, join_all, select, try_join};
use serial_executor::{CallError, Flatten, OnPanic, OpenError, SerialExecutor};
use smol::Timer;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

// The client, as somebody else wrote it. It blocks, borrows its arguments, and is neither `Send` nor `Sync`.
#[allow(unreachable_pub)] // it stands for a crate
mod client {
    use std::cell::RefCell;
    use std::io::{self, BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::rc::Rc;
    use std::time::Duration;

    #[derive(Debug, thiserror::Error)]
    pub enum Error {
        #[error("the connection is lost: {0}")]
        Io(#[from] io::Error),
        #[error("the server refuses: {0}")]
        Refused(String),
    }

    pub struct Client {
        stream: Rc<RefCell<BufReader<TcpStream>>>,
    }

    impl Client {
        pub fn connect(server: SocketAddr, timeout: Duration) -> Result<Self, Error> {
            let stream = TcpStream::connect_timeout(&server, timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            Ok(Self { stream: Rc::new(RefCell::new(BufReader::new(stream))) })
        }

        pub fn get(&mut self, key: &str) -> Result<String, Error> {
            self.ask(&format!("get {key}\n"))
        }

        pub fn set(&mut self, key: &str, word: &str) -> Result<(), Error> {
            self.ask(&format!("set {key} {word}\n")).map(drop)
        }

        pub fn quit(self) -> Result<(), Error> {
            self.ask("quit\n").map(drop)
        }

        fn ask(&self, request: &str) -> Result<String, Error> {
            assert!(request.lines().count() == 1, "a request is one line");
            let (mut stream, mut reply) = (self.stream.borrow_mut(), String::new());
            stream.get_mut().write_all(request.as_bytes())?;
            stream.read_line(&mut reply)?;
            match reply.strip_suffix('\n').and_then(|reply| reply.split_once(' ')) {
                Some(("ok", word)) => Ok(word.to_owned()),
                Some(("error", why)) => Err(Error::Refused(why.to_owned())),
                _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        }
    }
}

// The async client: the part to copy. It has no timer and no runtime. An `async fn` queues its request when
// it is first polled. A method that returns the future of `request` queues it when the method is called.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] OpenError<client::Error>),
    #[error(transparent)]
    Request(#[from] client::Error),
    #[error(transparent)] // closed, or the client panicked
    Lane(#[from] CallError),
}

/// A handle. Its clones share one connection, which serves their requests one after another.
#[derive(Clone)]
struct AsyncClient {
    lane: SerialExecutor<Option<Client>>,
    server: SocketAddr,
    timeout: Duration,
}

impl AsyncClient {
    /// `timeout` is the blocking client's own. It bounds how long a silent server holds up later requests.
    async fn connect(server: SocketAddr, timeout: Duration) -> Result<Self, Error> {
        let connect = move || Client::connect(server, timeout).map(Some);
        let lane = SerialExecutor::builder().on_panic(OnPanic::Continue).try_spawn_with(connect);
        Ok(Self { lane: lane.await?, server, timeout })
    }

    async fn get(&self, key: &str) -> Result<String, Error> {
        let key = key.to_owned();
        self.request(move |client| client.get(&key)).await
    }

    async fn set(&self, key: &str, word: &str) -> Result<(), Error> {
        let (key, word) = (key.to_owned(), word.to_owned());
        self.request(move |client| client.set(&key, &word)).await
    }

    /// Serves the earlier requests, then quits. Later requests are refused, from every handle.
    async fn close(&self) -> Result<(), Error> {
        let quit = self.lane.call(|connection| Ok(connection.take().map_or(Ok(()), Client::quit)?));
        let ended = self.lane.close();
        let quit = quit.flatten().await;
        ended.await.map_err(CallError::Panicked)?;
        quit
    }

    /// Queues a request. The request connects first if an earlier one has lost the connection.
    fn request<R: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Client) -> Result<R, client::Error> + Send + 'static,
    ) -> Flatten<R, Error> {
        let (server, timeout) = (self.server, self.timeout);
        let call = self.lane.call(move |connection| {
            let mut client = connection.take().map_or_else(|| Client::connect(server, timeout), Ok)?;
            let reply = request(&mut client);
            // A lost connection is not put back. A panic loses it as well: hence `OnPanic::Continue`.
            let lost = matches!(reply, Err(client::Error::Io(_)));
            *connection = (!lost).then_some(client);
            Ok(reply?)
        });
        call.flatten()
    }
}

// A program that uses it. The timeout is its runtime's; `within` says whether the future was ready in time.
async fn show(within: impl AsyncFn(BoxFuture<'_, ()>) -> bool) -> Result<(), Box<dyn std::error::Error>> {
    let (server, mut requests, release) = start_server()?;
    let client = AsyncClient::connect(server, Duration::from_secs(60)).await?;

    let (one, other) = (client.clone(), client.clone());
    try_join(one.set("fruit", "apple"), other.set("colour", "red")).await?;
    let refused = client.get("size").await;
    println!("  the server refuses one: {refused:?}");
    assert!(matches!(refused, Err(Error::Request(client::Error::Refused(_)))));

    let mut running = client.get("hold").map(drop).boxed();
    let read = requests.by_ref().take(4).collect::<Vec<_>>(); // the fourth one is "get hold"
    let Either::Right((mut read, _)) = select(&mut running, read).await else {
        return Err("the server did not hold the request".into());
    };
    let queued = within(client.set("fruit", "pear").map(drop).boxed()).await;
    let running = within(running).await;
    release.send(())?;
    let fruit = client.get("fruit").await?;
    println!("  in time? running: {running}, queued: {queued}; the queued one never ran: fruit is {fruit}");
    assert_eq!((running, queued, &*fruit), (false, false, "apple"));

    let replies = join_all(["hangup", "fruit", "colour", "fruit"].map(|key| client.get(key))).await;
    println!("  the server hangs up on the first of four: {replies:?}");
    assert!(matches!(&replies[0], Err(Error::Request(client::Error::Io(_)))));
    assert!(replies[1..].iter().all(Result::is_ok));

    let panicked = client.get("two\nlines").await;
    println!("  the client panics: {panicked:?}, and then says {:?}", client.get("fruit").await?);
    assert!(matches!(panicked, Err(Error::Lane(CallError::Panicked(_)))));

    let (last, closed) = join(client.set("fruit", "fig"), other.close()).await;
    let late = client.get("fruit").await;
    println!("  closed: {last:?} before, {closed:?}, {late:?} after");
    assert!(last.is_ok() && closed.is_ok() && matches!(late, Err(Error::Lane(CallError::Closed))));

    let hasty = AsyncClient::connect(server, Duration::from_millis(500)).await?;
    let (silence, fruit) = join(hasty.get("silence"), hasty.get("fruit")).await;
    println!("  the server does not answer the first of two: {silence:?}, {fruit:?}");
    assert!(matches!(silence, Err(Error::Request(client::Error::Io(_)))) && fruit? == "fig");
    hasty.close().await?;

    requests.close();
    read.extend(requests.collect::<Vec<_>>().await);
    println!("  the server has read, by connection: {}", read.join(", "));
    let expected = "1 set fruit apple, 1 set colour red, 1 get size, 1 get hold, 1 get fruit, 1 get hangup, \
         2 get fruit, 2 get colour, 2 get fruit, 3 get fruit, 3 set fruit fig, 3 quit, \
         4 get silence, 5 get fruit, 5 quit";
    assert_eq!(read.join(", "), expected);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const LIMIT: Duration = Duration::from_millis(20);
    println!("under smol:");
    smol::block_on(show(async |future| {
        matches!(select(future, Timer::after(LIMIT)).await, Either::Left(_))
    }))?;
    println!("under async-std:");
    async_std::task::block_on(show(async |future| async_std::future::timeout(LIMIT, future).await.is_ok()))?;
    println!("under tokio:");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    tokio.block_on(show(async |future| tokio::time::timeout(LIMIT, future).await.is_ok()))
}

// A server that keeps words, and misbehaves when it is asked for certain keys. It returns its address, the
// requests as it reads them (each after the number of its connection), and what makes it answer "get hold".
fn start_server() -> io::Result<(SocketAddr, UnboundedReceiver<String>, Sender<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let ((read, requests), (release, released)) = (unbounded(), channel());
    thread::spawn(move || {
        let mut words = HashMap::<String, String>::new();
        for (connection, stream) in (1..).zip(listener.incoming()) {
            let mut stream = stream?;
            for line in BufReader::new(stream.try_clone()?).lines().map_while(Result::ok) {
                let _ = read.unbounded_send(format!("{connection} {line}"));
                let reply = match line.split(' ').collect::<Vec<_>>()[..] {
                    ["get", "hangup"] => break,
                    ["get", "silence"] => continue,
                    ["get", "hold"] => released.recv().map_or("error".to_owned(), |()| "ok held".to_owned()),
                    ["get", key] => {
                        words.get(key).map_or(format!("error no {key}"), |word| format!("ok {word}"))
                    }
                    ["set", key, word] => {
                        words.insert(key.to_owned(), word.to_owned());
                        "ok ".to_owned()
                    }
                    _ => "ok ".to_owned(),
                };
                stream.write_all(format!("{reply}\n").as_bytes())?;
            }
        }
        io::Result::Ok(())
    });
    Ok((address, requests, release))
}
