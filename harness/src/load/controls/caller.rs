//! How do control operations reach the target? Blocking connections of their own, kept open between exchanges.

use std::time::Duration;

use crate::load::LoadError;
use crate::target::{Meaning, Target, Vars};
use crate::wire::{Connection, Reply, TlsOptions, WireError, encode};

/// Deadline of one exchange: a busy server may take its time.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the reader of a server needs to have taken all but the last byte.
const SETTLES: Duration = Duration::from_millis(2);

/// An answer, and what it means by the profile.
pub(super) type Answered = Result<(Meaning, Reply), LoadError>;

/// Connections to one target.
pub(super) struct Callers<'a> {
    target: &'a Target,
    tls: &'a TlsOptions,
    idle: Vec<Connection>,
}

impl<'a> Callers<'a> {
    pub fn new(target: &'a Target, tls: &'a TlsOptions) -> Callers<'a> {
        Callers { target, tls, idle: Vec::new() }
    }

    fn connection(&mut self) -> Result<Connection, WireError> {
        while let Some(mut idle) = self.idle.pop() {
            if idle.is_usable() {
                return Ok(idle);
            }
        }
        Connection::open(&self.target.endpoint, self.tls, PATIENCE)
    }

    fn request(&self, operation: &str, vars: &Vars) -> Result<Vec<u8>, LoadError> {
        Ok(encode(&self.target.request(operation, vars)?, &self.target.endpoint))
    }

    fn keep(&mut self, operation: &str, connection: Connection, reply: Reply) -> (Meaning, Reply) {
        if !reply.closes {
            self.idle.push(connection);
        }
        (self.target.judge(operation, &reply), reply)
    }

    /// One exchange.
    pub fn ask(&mut self, operation: &str, vars: &Vars) -> Answered {
        let bytes = self.request(operation, vars)?;
        let mut connection = self.connection()?;
        let reply = connection.exchange(&bytes, false, PATIENCE)?;
        Ok(self.keep(operation, connection, reply))
    }

    /// Several at the same instant: all but the last byte of each has been sent before any of them is whole.
    pub fn together(&mut self, operation: &str, all: &[Vars]) -> Vec<Answered> {
        let held: Vec<Result<Connection, LoadError>> = all
            .iter()
            .map(|vars| {
                let bytes = self.request(operation, vars)?;
                let mut connection = self.connection()?;
                connection.hold_last_byte(&bytes, PATIENCE)?;
                Ok(connection)
            })
            .collect();
        std::thread::sleep(SETTLES);
        let released: Vec<Result<Connection, LoadError>> = held
            .into_iter()
            .map(|held| {
                let mut connection = held?;
                connection.release(PATIENCE)?;
                Ok(connection)
            })
            .collect();
        released
            .into_iter()
            .map(|released| {
                let mut connection = released?;
                let reply = connection.receive(false, PATIENCE)?;
                Ok(self.keep(operation, connection, reply))
            })
            .collect()
    }
}
