//! A server that does not answer: a timeout drops the call, the interrupter makes its blocking read return, and the next
//! call connects anew. Without an interrupter the lane would be stuck for as long as the server is silent.
//!
//! `cargo run --example interrupt`

use futures::future::{Either, FutureExt, select};
use serial_executor::SerialExecutor;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The connection as seen from outside the lane: for the interrupter, whichever connection it is at the moment.
#[derive(Clone, Default)]
struct Outside(Arc<Mutex<Option<TcpStream>>>);

impl Outside {
    fn set(&self, stream: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    fn shut_down(&self) {
        if let Some(stream) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = stream.shutdown(Shutdown::Both); // it may be closed already
        }
    }
}

/// A blocking client that connects when it has to.
struct Client {
    server: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    outside: Outside,
}

impl Client {
    fn connection(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => {
                // Connecting cannot be interrupted, so it has a limit of its own.
                let stream = TcpStream::connect_timeout(&self.server, Duration::from_secs(5))?;
                self.outside.set(stream.try_clone()?);
                Ok(none.insert(BufReader::new(stream)))
            }
        }
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        let answer = self.try_ask(question);
        if answer.is_err() {
            self.connection = None; // shut down, by the server or by our interrupter, or out of step: the next one connects
        }
        answer
    }

    fn try_ask(&mut self, question: &str) -> io::Result<String> {
        let connection = self.connection()?;
        connection.get_mut().write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        match connection.read_line(&mut answer)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(answer.trim_end().to_owned()),
        }
    }
}

/// Answers every line, but for the one that says "silence".
fn serve(listener: &TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let mut stream = stream?;
        for line in BufReader::new(stream.try_clone()?).lines().map_while(Result::ok) {
            if line != "silence" {
                writeln!(stream, "you said: {line}")?;
            }
        }
    }
    Ok(())
}

async fn show(server: SocketAddr, timeout: impl Future<Output = ()> + Unpin) -> Result<(), Box<dyn Error>> {
    let lane = SerialExecutor::new(Client { server, connection: None, outside: Outside::default() });
    lane.on_interrupt(|client| {
        let outside = client.outside.clone();
        move || outside.shut_down()
    })
    .await?;
    println!("  {}", lane.call(|client| client.ask("hello")).flatten().await?);

    let (start, unanswered) = (Instant::now(), lane.call(|client| client.ask("silence")));
    match select(unanswered, timeout).await {
        Either::Left((answer, _)) => return Err(format!("an answer: {answer:?}").into()),
        Either::Right(((), unanswered)) => drop(unanswered), // here the interrupter fires
    }
    println!("  {}", lane.call(|client| client.ask("still there?")).flatten().await?);
    println!("  the silence took {:.1?}", start.elapsed());
    lane.close().await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    const LIMIT: Duration = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    std::thread::spawn(move || serve(&listener));
    println!("under smol:");
    smol::block_on(show(server, smol::Timer::after(LIMIT).map(drop)))?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?
        .block_on(async { show(server, Box::pin(tokio::time::sleep(LIMIT))).await })
}
