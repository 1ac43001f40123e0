//! A socket for unit tests.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;

use super::socket::Socket;

/// Notes what it is sent.
#[derive(Clone, Default)]
pub(crate) struct Wire(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Socket for Wire {
    fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn has_input(&self) -> bool {
        false
    }

    fn shutdown(&self, _: Shutdown) {}
}
