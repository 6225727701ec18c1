//! What is one connection of a loop doing? Sockets that never block, and the request that is on its way.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};

use super::script::Spoil;
use crate::units::Nanos;
use crate::wire::{Limits, ResponseParser, WireError};

/// What the load keeps of a reply: enough for tokens and predicates, little for 15,000 connections.
pub(crate) const LIMITS: Limits = Limits { head: 64 << 10, body: 1 << 30, keep: 64 << 10, interim: 16 };

/// Marks the absence of a connection or a session.
pub(crate) const NONE: u32 = u32::MAX;

/// A request that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// What the pacer said.
    pub planned: Nanos,
    /// When it could be due at the earliest: as planned, or once the step before it was answered.
    pub due: Nanos,
    /// When the loop noticed that it was due.
    pub released: Nanos,
    /// Its number in the plan.
    pub n: u64,
    /// Index of its script.
    pub operation: u16,
    /// The closed user who waits for it.
    pub user: u32,
    /// Planned after the warm-up.
    pub recorded: bool,
    /// It had to wait for a connection.
    pub queued: bool,
    /// Since when it had to wait for a session; zero if it had not.
    pub sessionless: Nanos,
    /// The walk whose step it is.
    pub walk: u32,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub arrival: Arrival,
    /// Just before the first write, or before connecting where that was needed.
    pub wire: Nanos,
    /// When the first byte of the reply was read; zero before.
    pub first_byte: Nanos,
    pub session: u32,
    pub spoil: Spoil,
    /// The token may have ended by our own schedule when it was sent.
    pub expired: bool,
    /// When it ends at the earliest, and has ended at the latest; zero if nobody knows.
    pub expires: Nanos,
    pub ended: Nanos,
    /// Its session was being ended or renewed by us when it was sent.
    pub doomed: bool,
    /// Times it was sent again, after the server had closed a reused connection without a word or turned it away unread.
    pub again: u8,
    /// Connection and handshake that this request had to wait for.
    pub connect: Option<Nanos>,
    pub tls: Option<Nanos>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No socket.
    Closed,
    Connecting,
    Handshaking,
    /// Open, nothing on its way.
    Idle,
    /// A request is on its way.
    Busy,
}

/// One connection of a loop.
#[derive(Debug)]
pub(crate) struct Conn {
    pub socket: Option<TcpStream>,
    pub tls: Option<Box<ClientConnection>>,
    pub state: State,
    /// Raised whenever the socket changes, so that an old event is told from a new one.
    pub generation: u32,
    pub parser: ResponseParser,
    pub out: Vec<u8>,
    pub written: usize,
    pub flight: Option<Flight>,
    /// Exchanges since it was opened.
    pub exchanges: u64,
    /// Whether the kernel was asked to tell when there is room to write.
    pub wants_room: bool,
    /// When connecting or shaking hands began.
    pub phase_from: Nanos,
    /// Neighbours in the list of deadlines.
    pub earlier: u32,
    pub later: u32,
}

impl Conn {
    pub fn new() -> Conn {
        Conn {
            socket: None,
            tls: None,
            state: State::Closed,
            generation: 0,
            parser: ResponseParser::new(LIMITS, false),
            out: Vec::new(),
            written: 0,
            flight: None,
            exchanges: 0,
            wants_room: false,
            phase_from: Nanos(0),
            earlier: NONE,
            later: NONE,
        }
    }

    /// Begins to connect. The result says whether the connection stands already.
    pub fn connect(&mut self, addr: &SocketAddr, now: Nanos) -> Result<bool, WireError> {
        let local = |what: &'static str, e: io::Error| WireError::Local { what, reason: e.to_string() };
        let socket = Socket::new(Domain::for_address(*addr), Type::STREAM.nonblocking().cloexec(), None)
            .map_err(|e| local("open a socket", e))?;
        socket.set_tcp_nodelay(true).map_err(|e| local("set TCP_NODELAY", e))?;
        self.phase_from = now;
        self.exchanges = 0;
        let done = match socket.connect(&(*addr).into()) {
            Ok(()) => true,
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => false,
            Err(e) => return Err(WireError::connecting(&e, addr.to_string(), std::time::Duration::ZERO)),
        };
        self.socket = Some(socket.into());
        self.state = State::Connecting;
        self.generation = self.generation.wrapping_add(1);
        self.wants_room = false;
        Ok(done)
    }

    /// Closes the socket; the kernel takes it out of the event queue with that.
    pub fn close(&mut self) {
        self.socket = None;
        self.tls = None;
        self.state = State::Closed;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Writes what is left of the request. `Ok(true)`: all of it is out.
    pub fn write(&mut self) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        match &mut self.tls {
            None => {
                while self.written < self.out.len() {
                    match (&*socket).write(&self.out[self.written..]) {
                        Ok(n) => self.written += n,
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
            }
            Some(tls) => {
                if self.written < self.out.len() {
                    self.written += tls.writer().write(&self.out[self.written..])?;
                }
                while tls.wants_write() {
                    match tls.write_tls(&mut &*socket) {
                        Ok(_) => {}
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                return Ok(self.written == self.out.len());
            }
        }
        Ok(true)
    }

    /// Reads once. Zero bytes: the server closed. `WouldBlock`: nothing there (for TLS: no data of the reply).
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let Some(tls) = &mut self.tls else { return (&*socket).read(into) };
        loop {
            match tls.reader().read(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // TCP ended without a close_notify; HTTP framing decides what that means.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if tls.read_tls(&mut &*socket)? == 0 && !tls.wants_read() {
                return Ok(0);
            }
            tls.process_new_packets().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        }
    }

    /// Moves a handshake on. `Ok(true)`: it is done.
    pub fn handshake(&mut self) -> io::Result<bool> {
        let (Some(socket), Some(tls)) = (&self.socket, &mut self.tls) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut &*socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(e) => return Err(e),
                }
            }
            if !tls.is_handshaking() {
                return Ok(true);
            }
            match tls.read_tls(&mut &*socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the server why.
                let _ = tls.write_tls(&mut &*socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Whether the socket reported an error while connecting.
    pub fn connected(&self) -> io::Result<()> {
        match &self.socket {
            Some(socket) => match socket.take_error()? {
                None => Ok(()),
                Some(e) => Err(e),
            },
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
