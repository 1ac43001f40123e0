//! A client's end of a connection: writes any bytes, and takes from the server only what RFC 6455
//! allows a server to send.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// What is answered by then, or never.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon the stream has to end after the closing handshake: the broker gives a client that
/// doesn't take part in it 3 s.
const END: Duration = Duration::from_millis(2500);

/// For how long nothing comes where nothing is to come.
const QUIET: Duration = Duration::from_millis(300);

/// Between small pieces, so that they arrive as such.
const GAP: Duration = Duration::from_micros(100);

/// The example of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The stream ended.
    End,
}

/// Why a connection isn't as it should be, in a sentence.
pub(crate) type Fault = String;

#[derive(Debug)]
pub(crate) struct Wire {
    socket: TcpStream,
    read: Vec<u8>,
}

/// The request that opens a WebSocket, without the application's pings.
pub(crate) fn handshake() -> Vec<u8> {
    let request = format!(
        "GET /cable?pi=0 HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    request.into_bytes()
}

impl Wire {
    /// A connection on which nothing is said yet.
    pub(crate) fn connect(port: u16) -> Result<Self, Fault> {
        let socket = TcpStream::connect(("127.0.0.1", port)).map_err(told)?;
        socket.set_nodelay(true).map_err(told)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(told)?;
        Ok(Self { socket, read: Vec::new() })
    }

    /// A WebSocket, welcomed.
    pub(crate) fn open(port: u16) -> Result<Self, Fault> {
        let mut wire = Self::connect(port)?;
        wire.send(&handshake())?;
        wire.upgraded()?;
        Ok(wire)
    }

    /// Takes in the answer to the handshake, and the welcome.
    pub(crate) fn upgraded(&mut self) -> Result<(), Fault> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more()? {
                return Err("the stream ended before the handshake's answer".to_owned());
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).map_err(told)?;
        let accepted = format!("sec-websocket-accept: {ACCEPT}\r\n");
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains(&accepted) {
            return Err(format!("the handshake was answered with {head:?}"));
        }
        let first = self.hear()?;
        let welcome = r#"{"type":"welcome","sid":"#;
        let is_welcome = matches!(&first, Heard::Text(text) if text.starts_with(welcome));
        is_welcome.then_some(()).ok_or_else(|| format!("{first:?} came in place of the welcome"))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.socket.write_all(bytes).map_err(|error| format!("sending failed: {error}"))
    }

    /// Sends pieces of so many bytes, each in a packet of its own.
    pub(crate) fn send_chopped(&mut self, bytes: &[u8], size: usize) -> Result<(), Fault> {
        for piece in bytes.chunks(size) {
            self.send(piece)?;
            std::thread::sleep(GAP);
        }
        Ok(())
    }

    /// Sends no more, and says so.
    pub(crate) fn end_sending(&self) -> Result<(), Fault> {
        self.socket.shutdown(std::net::Shutdown::Write).map_err(told)
    }

    /// What comes next.
    pub(crate) fn hear(&mut self) -> Result<Heard, Fault> {
        loop {
            if let Some(heard) = self.frame()? {
                return Ok(heard);
            }
            if !self.more()? {
                return if self.read.is_empty() {
                    Ok(Heard::End)
                } else {
                    Err(format!("the stream ended within a frame: {:?}", self.read))
                };
            }
        }
    }

    /// The end of the stream, and soon.
    pub(crate) fn ends(&mut self) -> Result<(), Fault> {
        self.socket.set_read_timeout(Some(END)).map_err(told)?;
        match self.hear() {
            Ok(Heard::End) => Ok(()),
            Ok(other) => Err(format!("{other:?} came in place of the stream's end")),
            Err(fault) => Err(format!("the stream did not end: {fault}")),
        }
    }

    /// That nothing comes and the stream stays, for a while.
    pub(crate) fn is_quiet(&mut self) -> Result<(), Fault> {
        self.socket.set_read_timeout(Some(QUIET)).map_err(told)?;
        let mut bytes = [0; 64];
        let quiet = match self.socket.read(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(())
            }
            Err(error) => Err(told(error)),
            Ok(0) => Err("the stream ended where nothing was to come".to_owned()),
            Ok(read) => Err(format!("{:?} came where nothing was to come", &bytes[..read])),
        };
        self.socket.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        if self.read.is_empty() { quiet } else { Err(format!("{:?} came", self.read)) }
    }

    /// Reads once; whether there was anything.
    fn more(&mut self) -> Result<bool, Fault> {
        let mut bytes = [0; 16 * 1024];
        let read =
            self.socket.read(&mut bytes).map_err(|error| format!("nothing came: {error}"))?;
        self.read.extend(&bytes[..read]);
        Ok(read > 0)
    }

    /// Takes a frame out of what was read, if one is there.
    fn frame(&mut self) -> Result<Option<Heard>, Fault> {
        let [first, second, rest @ ..] = &*self.read else { return Ok(None) };
        let (first, second) = (*first, *second);
        if first & 0xF0 != 0x80 {
            return Err(format!("the first byte {first:#x} has reserved bits, or no FIN"));
        }
        if second & 0x80 != 0 {
            return Err("a frame of the server is masked".to_owned());
        }
        let (length, header, least) = match (second, rest) {
            (126, [high, low, ..]) => (u64::from(u16::from_be_bytes([*high, *low])), 4, 126),
            (127, [length @ .., _]) if length.len() >= 8 => {
                (u64::from_be_bytes(rest[..8].try_into().unwrap()), 10, 65_536)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 2, 0),
        };
        if length < least {
            return Err(format!("a length of {length} is not encoded minimally"));
        }
        let end = header + usize::try_from(length).map_err(told)?;
        let Some(payload) = self.read.get(header..end) else { return Ok(None) };
        let payload = payload.to_vec();
        self.read.drain(..end);
        let text = |bytes| String::from_utf8(bytes).map_err(told);
        match (first & 0x0F, &*payload) {
            (0x1, _) => Ok(Some(Heard::Text(text(payload)?))),
            (0x8, []) => Ok(Some(Heard::Close(None))),
            (0x8, [high, low, reason @ ..]) if payload.len() <= 125 => {
                text(reason.to_vec())?;
                Ok(Some(Heard::Close(Some(u16::from_be_bytes([*high, *low])))))
            }
            (0xA, _) if payload.len() <= 125 => Ok(Some(Heard::Pong(payload))),
            (opcode, _) => Err(format!("a frame of opcode {opcode:#x} and {length} bytes came")),
        }
    }
}

fn told(error: impl std::fmt::Display) -> Fault {
    error.to_string()
}
