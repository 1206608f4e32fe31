//! A blocking client such as many write them, its protocol, and the server's side of that.
//!
//! A frame is its length (4 bytes, big-endian), the id of the request (8), and the rest. In a
//! request that is its text; in an answer, the length of its text (1) and the text.

use super::fault::{Fault, Request};
use super::outside::Outside;
use super::server::{Protocol, Server, drain};
use super::world::World;
use super::{Attempt, Client, Failure, Interrupter};
use crate::support::{Dice, Tracked, Tracker};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// No frame is longer.
const MAX: usize = 64;
const ID: usize = 8;

/// It keeps its connection until something goes wrong. The next request makes a new one.
pub(super) struct Framed {
    server: SocketAddr,
    stream: Option<TcpStream>,
    /// The number of the connection, among all that there were.
    connection: u64,
    outside: Outside<TcpStream>,
    guarded: bool,
    _tracked: Tracked,
}

impl Framed {
    /// # Panics
    ///
    /// If there is a connection already.
    pub(super) fn new(server: SocketAddr, outside: Outside<TcpStream>, clients: &Tracker) -> Self {
        assert_eq!(clients.alive(), 0, "there may be only one client at a time");
        Self { server, stream: None, connection: 0, outside, guarded: false, _tracked: clients.track() }
    }

    fn try_ask(&mut self, request: Request, called_off: &dyn Fn() -> bool) -> Result<String, Failure> {
        if !self.outside.is_whole() {
            // An interrupt that was meant for the request before came too late for it, and has cut
            // the connection.
            self.stream = None;
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect_timeout(&self.server, Duration::from_secs(30))
                    .map_err(|error| Failure::Connect(error.kind()))?;
                stream.set_nodelay(true)?;
                self.connection = self.outside.connected(stream.try_clone()?);
                none.insert(stream)
            }
        };
        // An interrupt that came before this had no connection to cut.
        if called_off() {
            return Err(Failure::CalledOff);
        }
        // Where there is no interrupter, a request has a time limit.
        stream.set_read_timeout(if self.guarded { None } else { Some(Duration::from_millis(20)) })?;
        stream.write_all(&frame(request.id, request.to_string().as_bytes()))?;

        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if !(ID + 1..=MAX).contains(&length) {
            return Err(Failure::Garbage);
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame)?;
        let (id, rest) = frame.split_first_chunk().unwrap();
        if u64::from_be_bytes(*id) != request.id {
            return Err(Failure::Stranger);
        }
        // A common mistake: the client trusts the server.
        let text = &rest[1..][..usize::from(rest[0])];
        String::from_utf8(text.to_vec()).map_err(|_| Failure::Garbage)
    }
}

impl Client for Framed {
    type Line = TcpStream;

    fn ask(&mut self, request: Request, called_off: &dyn Fn() -> bool) -> Attempt {
        let _under_way = self.outside.begin(request.id);
        let result = self.try_ask(request, called_off);
        if result.is_err() {
            self.stream = None;
            self.outside.disconnected();
        }
        Attempt { connection: self.connection, guarded: self.guarded, result }
    }

    fn interrupter(&mut self) -> Interrupter {
        self.guarded = true;
        let outside = self.outside.clone();
        Box::new(move || {
            outside.interrupt(|stream| {
                // The server may have closed it.
                let _ = stream.shutdown(Shutdown::Both);
            });
        })
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        self.outside.disconnected();
    }
}

fn frame(id: u64, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(ID + rest.len()).unwrap();
    [&length.to_be_bytes(), &id.to_be_bytes()[..], rest].concat()
}

/// The server's side.
pub(super) struct FramedPeer;

impl Protocol for FramedPeer {
    fn request(&mut self, stream: &mut TcpStream) -> io::Result<Request> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame)?;
        let text = std::str::from_utf8(&frame[ID..]).expect("a request");
        Ok(text.parse().expect("a request"))
    }

    fn answer(&mut self, request: Request) -> io::Result<Vec<u8>> {
        let text = request.to_string();
        let rest = [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        Ok(frame(request.id, &rest))
    }

    fn nonsense(&mut self, request: Request, dice: &mut Dice) -> Vec<u8> {
        match request.fault {
            Fault::Oversized => {
                let length = u32::try_from(MAX as u64 + 1 + dice.roll(1 << 30)).unwrap();
                [&length.to_be_bytes(), &request.id.to_be_bytes()[..]].concat()
            }
            // One byte less than its length says.
            Fault::Poisonous => frame(request.id, &[3, 0, 0]),
            _ => {
                // Half of the garbage looks like a frame.
                let mut bytes: Vec<_> = (0..4 + MAX).map(|_| dice.roll(256).to_le_bytes()[0]).collect();
                if dice.roll(2) == 0 {
                    bytes[..4].copy_from_slice(&[0, 0, 0, dice.roll(MAX as u64 + 1).to_le_bytes()[0]]);
                }
                bytes
            }
        }
    }

    fn stall(&mut self, stream: &mut TcpStream) {
        drain(stream);
    }
}

/// A lane with such a client, and its server.
pub(super) fn world() -> World<Framed> {
    let server = Server::start(|| FramedPeer);
    let (address, outside, clients) = (server.address(), Outside::new(), Tracker::new());
    let of_clients = outside.clone();
    World::new(server, outside, move || Framed::new(address, of_clients.clone(), &clients))
}
