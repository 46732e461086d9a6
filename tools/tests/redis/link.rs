//! Owns one connection: bytes out, whole replies in. A server that stays silent for longer than any answer takes is trouble, not a wait.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use crate::wire::{Reply, parse};

const PATIENCE: Duration = Duration::from_secs(20);

/// A reply: the bytes that came and what they say.
#[derive(Clone)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub reply: Reply,
}

/// A connection to a server.
pub struct Link {
    stream: TcpStream,
    arrived: Vec<u8>,
}

impl Link {
    pub fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, arrived: Vec::new() })
    }

    /// Sends `bytes` in two pieces, the first `cut` long, so that the server sees a command in parts.
    pub fn send(&mut self, bytes: &[u8], cut: usize) -> Result<(), String> {
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        for piece in [first, second] {
            self.stream.write_all(piece).map_err(|error| format!("sending: {error}"))?;
        }
        Ok(())
    }

    /// The next reply.
    pub fn answer(&mut self) -> Result<Answer, String> {
        loop {
            if let Some((reply, len)) = parse(&self.arrived)? {
                let bytes = self.arrived.drain(..len).collect();
                return Ok(Answer { bytes, reply });
            }
            if self.read()? == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }

    /// Sends no more, and takes everything until the server closes the connection.
    pub fn rest(mut self) -> Result<Vec<u8>, String> {
        // A server that has closed already has nothing to be told.
        let _ = self.stream.shutdown(Shutdown::Write);
        while self.read()? > 0 {}
        Ok(self.arrived)
    }

    fn read(&mut self) -> Result<usize, String> {
        let mut piece = [0; 16384];
        match self.stream.read(&mut piece) {
            Ok(n) => {
                self.arrived.extend_from_slice(&piece[..n]);
                Ok(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(format!("no answer in {} s", PATIENCE.as_secs()))
            }
            // A server that closes on input it has not read resets the connection: closed all the same.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(format!("receiving: {error}")),
        }
    }
}
