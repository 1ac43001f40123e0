//! What scenarios have in common.

use crate::bench::Bench;

/// One way to load a server.
pub(crate) trait Run {
    const NAME: &'static str;

    /// What the server has to provide, and how many sockets are needed.
    fn needs(&self) -> Needs;

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()>;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    pub(crate) connections: u32,
    /// Presence, which is an extension of Action Cable.
    pub(crate) presence: bool,
    /// Connections that publish.
    pub(crate) publishers: u32,
    /// Bytes of a publication's data.
    pub(crate) size: u32,
}
