//! What is measured: one module for each scenario.

mod burst;
mod commands;
mod expire;
mod fanout;
mod idle;
mod mixed;
mod records;
mod storm;

use clap::Subcommand;
use serde::Serialize;

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

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Scenario {
    Idle(Command<idle::Idle>),
    Fanout(Command<fanout::Fanout>),
    Burst(Command<burst::Burst>),
    Storm(Command<storm::Storm>),
    Expire(Command<expire::Expire>),
    Commands(Command<commands::Commands>),
    Churn(Command<commands::Churn>),
    Mixed(Command<mixed::Mixed>),
    Records(Command<records::Records>),
}

/// A scenario with what all of them share.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Command<T: clap::Args> {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) own: T,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) shared: crate::args::Shared,
}
