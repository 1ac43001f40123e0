//! A row of the registry.

use std::fmt;

use super::handshake::ReadOffer;
use super::wire_format::WireFormat;
use crate::types::{Codec, ReservedIds, Transport};

/// A protocol of clients: a row of [`PROTOCOLS`](super::PROTOCOLS).
pub struct Protocol {
    /// Its name in `--protocols` and logs.
    pub name: &'static str,
    /// Its default path.
    pub path: &'static str,
    /// Transports over which it is served, each with its path below the protocol's.
    pub transports: &'static [(Transport, &'static str)],
    /// Number and capabilities of its clients' codec. The transport comes with the connection.
    pub codec: Codec,
    /// Further codecs of the same format, for clients that ask for them.
    pub variants: &'static [Codec],
    /// Payloads ↔ neutral messages.
    pub format: &'static dyn WireFormat,
    /// Reader of the handshake, if clients ask for anything in it.
    pub handshake: Option<ReadOffer>,
    /// Whether unauthorized clients are refused by the status of the handshake. Otherwise the handshake
    /// succeeds, and a message says why the connection is closed.
    pub refuses_by_status: bool,
    /// Presence ids that its clients can't handle.
    pub reserved_presence_ids: Option<ReservedIds>,
}

impl Protocol {
    /// A protocol over WebSockets at its path, whose clients ask for nothing in the handshake.
    pub(super) const fn plain(
        name: &'static str,
        path: &'static str,
        codec: Codec,
        format: &'static dyn WireFormat,
    ) -> Self {
        Self {
            name,
            path,
            transports: &[(Transport::WebSocket, "")],
            codec,
            variants: &[],
            format,
            handshake: None,
            refuses_by_status: false,
            reserved_presence_ids: None,
        }
    }

    /// Its codecs, over any transport.
    pub(super) fn codecs(&self) -> impl Iterator<Item = Codec> {
        [self.codec].into_iter().chain(self.variants.iter().copied())
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Protocol {}
