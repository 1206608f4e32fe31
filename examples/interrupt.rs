//! A server that does not answer: a timeout drops the call, the interrupter makes its blocking read
//! return, and the next call connects anew. Without an interrupter the lane would be stuck for as
//! long as the server is silent.
//!
//! `cargo run --example interrupt`

use futures::future::{Either, FutureExt, select};
use serial_executor::SerialExecutor;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A blocking client that connects when it has no connection.
struct Client {
    server: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    /// The last connection once more, for the interrupter, which runs outside the lane.
    outside: Arc<Mutex<Option<TcpStream>>>,
}

impl Client {
    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        // The interrupter cannot end a connect, so the connect has a time limit of its own.
        let stream = TcpStream::connect_timeout(&self.server, Duration::from_secs(5))?;
        *self.outside.lock().unwrap() = Some(stream.try_clone()?);
        Ok(BufReader::new(stream))
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        let mut connection = self.connection.take().map_or_else(|| self.connect(), Ok)?;
        connection.get_mut().write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        if connection.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.connection = Some(connection); // after an error it is not kept: the next call connects
        Ok(answer.trim_end().to_owned())
    }
}

/// Answers every line except "silence".
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
    let lane = SerialExecutor::new(Client { server, connection: None, outside: Arc::default() });
    let interrupter = |client: &mut Client| {
        let outside = Arc::clone(&client.outside);
        move || {
            if let Some(stream) = &*outside.lock().unwrap() {
                let _ = stream.shutdown(Shutdown::Both); // an error means that it is closed already
            }
        }
    };
    lane.on_interrupt(interrupter).await?;
    println!("  {}", lane.call(|client| client.ask("hello")).flatten().await?);

    let (start, unanswered) = (Instant::now(), lane.call(|client| client.ask("silence")));
    match select(unanswered, timeout).await {
        Either::Left((answer, _)) => return Err(format!("an answer: {answer:?}").into()),
        Either::Right(((), unanswered)) => drop(unanswered), // here the interrupter fires
    }
    println!("  {}", lane.call(|client| client.ask("still there?")).flatten().await?);
    println!("  the silence took {:.1?}", start.elapsed());
    Ok(lane.close().await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    const LIMIT: Duration = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    std::thread::spawn(move || serve(&listener));
    println!("under smol:");
    smol::block_on(show(server, smol::Timer::after(LIMIT).map(drop)))?;
    println!("under tokio:");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    tokio.block_on(async { show(server, Box::pin(tokio::time::sleep(LIMIT))).await })
}
