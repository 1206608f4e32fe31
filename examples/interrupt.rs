//! A server that does not answer: a timeout drops the call, which makes its blocking read return.
//! The next call connects anew, and the new connection arms itself.
//!
//! `cargo run --example interrupt`

use futures::future::{Either, FutureExt, select};
use serial_executor::{CancelToken, SerialExecutor};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A blocking client that connects when it has no connection.
struct Client {
    server: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            // There is nothing to shut down before it is connected: so that has its own time limit.
            None => BufReader::new(TcpStream::connect_timeout(&self.server, Duration::from_secs(5))?),
        };
        // From here on, the drop of the call shuts the connection down. If it came before: here and
        // now.
        let outside = connection.get_ref().try_clone()?;
        if let Some(token) = CancelToken::current() {
            token.on_cancel(move || drop(outside.shutdown(Shutdown::Both)));
        }
        writeln!(connection.get_mut(), "{question}")?;
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
    let lane = SerialExecutor::new(Client { server, connection: None });
    println!("  {}", lane.call(|client| client.ask("hello")).flatten().await?);

    let (start, unanswered) = (Instant::now(), lane.call(|client| client.ask("silence")));
    match select(unanswered, timeout).await {
        Either::Left((answer, _)) => return Err(format!("an answer: {answer:?}").into()),
        // Here the call is told to stop. To read its error, `interrupt` it instead, and await it.
        Either::Right(((), unanswered)) => drop(unanswered),
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
