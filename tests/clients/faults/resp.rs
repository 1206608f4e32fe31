//! The blocking `redis` client, through a proxy in front of a real server. Replies of Redis have no
//! ids. So the requests are `ECHO`s: the reply is the text of the request, and the client compares
//! them.

use super::fault::{Fault, Request};
use super::outside::Outside;
use super::server::{Protocol, Server};
use super::world::World;
use super::{Attempt, Client, Failure, Interrupter};
use crate::redis_server::RedisServer;
use crate::support::Dice;
use redis::{Connection, ConnectionAddr, RedisError, cmd};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::str;
use std::sync::Mutex;
use std::time::Duration;

/// A client that reconnects. Others can cut its connection by the id that it has at the server.
pub(super) struct Resp {
    client: redis::Client,
    /// Connects past the proxy.
    direct: redis::Client,
    slot: Option<Connection>,
    connection: u64,
    outside: Outside<u64>,
    guarded: bool,
}

impl Resp {
    fn connect(&self) -> Result<(Connection, u64), RedisError> {
        let mut connection = self.client.get_connection_with_timeout(Duration::from_secs(30))?;
        let id = cmd("CLIENT").arg("ID").query(&mut connection)?;
        Ok((connection, id))
    }

    fn try_ask(&mut self, request: Request, called_off: &dyn Fn() -> bool) -> Result<String, Failure> {
        if !self.outside.is_whole() {
            self.slot = None;
        }
        if self.slot.is_none() {
            let (connection, id) = self.connect().map_err(|error| Failure::Connect(kind(&error)))?;
            self.slot = Some(connection);
            self.connection = self.outside.connected(id);
        }
        let Some(connection) = &mut self.slot else { unreachable!() };
        // An interrupt that came before this had no connection to cut.
        if called_off() {
            return Err(Failure::CalledOff);
        }
        let echo: Result<String, _> = cmd("ECHO").arg(request.to_string()).query(connection);
        let text = echo.map_err(|error| Failure::Lost(kind(&error)))?;
        if text == request.to_string() { Ok(text) } else { Err(Failure::Stranger) }
    }
}

/// An error that does not come from the connection is a reply that cannot be parsed.
fn kind(error: &RedisError) -> ErrorKind {
    if error.is_io_error() { ErrorKind::ConnectionReset } else { ErrorKind::InvalidData }
}

impl Client for Resp {
    type Line = u64;

    fn ask(&mut self, request: Request, called_off: &dyn Fn() -> bool) -> Attempt {
        let _under_way = self.outside.begin(request.id);
        let result = self.try_ask(request, called_off);
        if result.is_err() {
            self.slot = None;
            self.outside.disconnected();
        }
        Attempt { connection: self.connection, guarded: self.guarded, result }
    }

    fn interrupter(&mut self) -> Interrupter {
        self.guarded = true;
        let second = Mutex::new(self.direct.get_connection().unwrap());
        let outside = self.outside.clone();
        Box::new(move || {
            outside.interrupt(|id| {
                // The number of killed connections is zero if the proxy has closed it.
                let kill = cmd("CLIENT").arg("KILL").arg("ID").arg(id).query(&mut *second.lock().unwrap());
                assert!(kill.is_ok_and(|killed: u64| killed <= 1));
            });
        })
    }
}

/// One connection through the proxy.
struct Proxied {
    upstream: TcpStream,
}

impl Proxied {
    /// Sends a command to the server, and returns the reply.
    fn forward(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.upstream.write_all(command)?;
        value(&mut self.upstream)
    }
}

impl Protocol for Proxied {
    fn request(&mut self, stream: &mut TcpStream) -> io::Result<Request> {
        loop {
            let command = value(stream)?;
            let text = String::from_utf8(command.clone()).expect("a command of the client");
            if let ["*2", _, "ECHO", _, request, ""] = *text.split("\r\n").collect::<Vec<_>>() {
                return Ok(request.parse().expect("a request"));
            }
            let reply = self.forward(&command)?;
            stream.write_all(&reply)?;
        }
    }

    fn answer(&mut self, request: Request) -> io::Result<Vec<u8>> {
        let text = request.to_string();
        self.forward(format!("*2\r\n$4\r\nECHO\r\n${}\r\n{text}\r\n", text.len()).as_bytes())
    }

    fn nonsense(&mut self, _: Request, dice: &mut Dice) -> Vec<u8> {
        // A parser sees at the end of each of them, at the latest, that it is nonsense.
        let nonsense: [&[u8]; 5] =
            [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0\0\0\0\0", b":many\r\n", b"$long\r\n", b"*?\r\n"];
        nonsense[dice.pick(nonsense.len())].to_vec()
    }

    /// Until the client leaves or the server disconnects it.
    fn stall(&mut self, stream: &mut TcpStream) {
        while is_open(stream) && is_open(&mut self.upstream) {}
    }
}

/// Waits a moment.
fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    match stream.read(&mut [0]) {
        Ok(count) => count > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Reads a value of the protocol, such as a command, without parsing it.
fn value(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        bytes.extend(byte);
    }
    let count = || str::from_utf8(&bytes[1..bytes.len() - 2]).unwrap().parse::<usize>().unwrap();
    match bytes[0] {
        b'$' => {
            let mut text = vec![0; count() + 2];
            from.read_exact(&mut text)?;
            bytes.extend(text);
        }
        b'*' => {
            for _ in 0..count() {
                bytes.extend(value(from)?);
            }
        }
        _ => {}
    }
    Ok(bytes)
}

/// A lane whose client goes through a proxy of its own. The server is the same for all.
fn world(server: &RedisServer) -> World<Resp> {
    let direct = redis::Client::open(server.url()).unwrap();
    let ConnectionAddr::Tcp(host, port) = direct.get_connection_info().addr().clone() else { unreachable!() };
    let upstream = move || TcpStream::connect((&*host, port)).unwrap();
    let proxy = Server::start(move || Proxied { upstream: upstream() });
    let (client, outside) =
        (redis::Client::open(format!("redis://{}/", proxy.address())).unwrap(), Outside::new());
    let of_client = outside.clone();
    World::new(proxy, outside, move || {
        let (client, direct, outside) = (client.clone(), direct.clone(), of_client.clone());
        Resp { client, direct, slot: None, connection: 0, outside, guarded: false }
    })
}

mod storms {
    use super::super::storm::{Weather, storm};
    #[expect(clippy::enum_glob_use, reason = "lists of variants")]
    use super::Fault::{self, *};
    use super::{RedisServer, world};

    const FAULTS: &[Fault] =
        &[ThenClose, ThenHalfClose, ThenAgain, Stall, Reset, HalfClose, Cut, Garbage, Stranger, Die];

    fn server() -> RedisServer {
        RedisServer::start().unwrap_or_else(|error| panic!("{error}"))
    }

    #[apply(redis_test)]
    fn however_callers_leave_an_echo_is_the_callers_own_or_an_error_and_no_interrupt_hits_another() {
        let (server, weather) = (server(), Weather { faults: FAULTS, interrupts: false, ends: false });
        let summary = storm(60, weather, move || world(&server));
        assert!(summary.answered > 0 && summary.failed > 0 && summary.unmade > 0 && summary.hit > 0);
    }

    #[apply(redis_test)]
    fn interrupts_at_any_moment_cost_no_request_but_the_one_that_they_hit() {
        let (server, weather) = (server(), Weather { faults: FAULTS, interrupts: true, ends: false });
        let summary = storm(40, weather, move || world(&server));
        assert!(summary.answered > 0 && summary.failed > 0 && summary.hit > 0);
    }

    #[apply(redis_test)]
    fn a_lane_that_is_closed_or_aborted_in_the_middle_ends_and_leaves_nobody_waiting() {
        let (server, weather) = (server(), Weather { faults: FAULTS, interrupts: false, ends: true });
        let summary = storm(60, weather, move || world(&server));
        assert!(summary.answered > 0 && summary.unmade > 0 && summary.hit > 0);
    }
}
