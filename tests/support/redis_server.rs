//! A `redis-server` process: on a free port of the loopback interface, without persistence, until
//! it is dropped.

use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thiserror::Error;

/// How long the server may take until it accepts connections.
const PATIENCE: Duration = Duration::from_secs(60);

/// Below the ports that systems give to outgoing connections. So none of those takes the port while
/// the server is down, and no client that tries to connect meanwhile connects to itself.
const PORTS: Range<u16> = 10_000..30_000;

/// How many ports are tried: some may be taken.
const TRIES: usize = 20;

/// What to do where there is no `redis-server`.
pub(crate) const INSTALL: &str =
    "install it: `apt-get install redis-server` on Debian and Ubuntu, `brew install redis` on macOS";

pub(crate) struct RedisServer {
    process: Child,
    port: u16,
    dir: TempDir,
}

#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("there is no `redis-server` to talk to; {INSTALL}")]
    NotInstalled,
    /// For example because another process has the port.
    #[error("`redis-server` on port {port} has ended; it said:\n{said}")]
    Ended { port: u16, said: String },
    #[error("`redis-server` on port {port} does not get ready; it said:\n{said}")]
    NotReady { port: u16, said: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RedisServer {
    /// Returns when the server accepts connections.
    pub(crate) fn start() -> Result<Self, StartError> {
        let dir = tempfile::tempdir()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let port = fastrand::u16(PORTS);
            match launch(port, dir.path()) {
                Ok(process) => return Ok(Self { process, port, dir }),
                Err(StartError::Ended { .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// As a power cut would: no connection is closed properly, and the data is lost.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts an empty server on the same port. Returns when that accepts connections.
    pub(crate) fn start_again(&mut self) -> Result<(), StartError> {
        self.process = launch(self.port, self.dir.path())?;
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Fails if it has been killed already.
        let _ = self.kill();
    }
}

fn launch(port: u16, dir: &Path) -> Result<Child, StartError> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StartError::NotInstalled,
        _ => StartError::Io(error),
    })?;

    // The server itself says when it is ready. An answer on the port could come from another
    // process, which has taken the port.
    let (line, lines) = mpsc::channel();
    if let Some(output) = process.stdout.take() {
        // Reads to the end, so that the server never writes to a full or closed pipe.
        let output = BufReader::new(output).lines().map_while(Result::ok);
        thread::spawn(move || output.for_each(|said| drop(line.send(said))));
    }
    let (start, mut said) = (Instant::now(), String::new());
    let time_is_up = loop {
        match lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            Ok(line) if line.contains("Ready to accept connections") => return Ok(process),
            Ok(line) => said.extend([&line, "\n"]),
            // The channel ends with the server.
            Err(error) => break error == RecvTimeoutError::Timeout,
        }
    };
    process.kill()?;
    process.wait()?;
    Err(if time_is_up { StartError::NotReady { port, said } } else { StartError::Ended { port, said } })
}
