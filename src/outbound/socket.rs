//! What an outbox writes to and a connection reads from.

use std::io::{self, Read as _};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::TcpStream;

/// A byte stream that never blocks, shared by those who write to it and the task that reads it.
///
/// At most one task may wait for reading and one for writing, and they are the same task.
pub trait Socket: Send + Sync + 'static {
    /// Reads what is there; `WouldBlock` if nothing is, `Ok(0)` at the end.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits; `WouldBlock` if nothing does.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends on what writing took and didn't send yet; `WouldBlock` if something is left. A socket
    /// that keeps nothing back has nothing to do.
    fn try_flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Waits until reading makes sense.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits until writing makes sense.
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether bytes (or the end) have arrived, asked of the system itself: a process that has
    /// just woken up knows of nothing yet.
    fn has_input(&self) -> bool;

    /// Ends one direction (the peer sees the end of the stream) or both.
    fn shutdown(&self, how: std::net::Shutdown);
}

impl Socket for TcpStream {
    /// A read that doesn't fill the buffer has taken all there was, so the next one waits to be told of
    /// more without asking the system first. What arrives meanwhile makes it ready anew: tokio forgets
    /// only the readiness from before.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut all = None;
        let result = self.try_io(Interest::READABLE, || {
            let read = (&*socket2::SockRef::from(self)).read(buffer)?;
            if (1..buffer.len()).contains(&read) && cfg!(unix) {
                all = Some(read);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(read)
        });
        all.map_or(result, Ok)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, context)
    }

    fn has_input(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match socket2::SockRef::from(self).peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn shutdown(&self, how: std::net::Shutdown) {
        // fails if the peer was faster, which is as good
        drop(socket2::SockRef::from(self).shutdown(how));
    }
}
