//! What the scenarios' command lines share.

use std::time::Duration;

use serde::Serialize;

use crate::handshake::HandshakeOptions;
use crate::target::Url;

/// The identifier of a public stream, as `AnyCable` and the broker know it.
const PUBLIC_STREAM: &str = r#"{"channel":"$pubsub","stream_name":"{stream}"}"#;

/// A span of time, a day at most.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    number(text, 0.0, 86_400.0)
}

/// So many a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1_000_000.0)
}

fn number(text: &str, min: f64, max: f64) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!("a number from {min} to {max} is needed")),
    }
}

/// What all scenarios share.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "The server")]
pub(crate) struct Shared {
    /// The server's WebSocket; of several nodes, all of them: connections are spread over them in turn
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8080/cable", value_delimiter = ',', value_parser = Url::websocket)]
    #[serde(skip)]
    pub(crate) url: Vec<Url>,

    /// Where it takes publications over HTTP; by default /_broadcast on the port of each --url, to which those of
    /// every so many streams go
    #[arg(long, value_name = "URL", value_parser = Url::http)]
    #[serde(skip)]
    pub(crate) publish_url: Option<Url>,

    /// The key for publications, sent as `Authorization: Bearer KEY`
    #[arg(long, value_name = "KEY")]
    #[serde(skip)]
    pub(crate) publish_key: Option<String>,

    /// A process of the server, for its CPU time and memory; may be given several times
    #[arg(long, value_name = "PID")]
    #[serde(skip)]
    pub(crate) pid: Vec<u32>,

    /// The identifier to subscribe with; {stream} is where the stream's name goes
    #[arg(long, value_name = "JSON", default_value = PUBLIC_STREAM)]
    pub(crate) identifier: String,

    /// The WebSocket subprotocol; actioncable-v1-ext-json where presence is needed, else
    /// actioncable-v1-json
    #[arg(long, value_name = "NAME")]
    pub(crate) protocol: Option<String>,

    /// A JWT, sent as ?jid=TOKEN
    #[arg(long, value_name = "TOKEN")]
    #[serde(skip)]
    pub(crate) token: Option<String>,

    /// The Origin header; the one of --url's own pages by default
    #[arg(long)]
    #[serde(skip)]
    pub(crate) origin: Option<String>,

    /// A header of the handshake, such as a cookie; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    #[serde(skip)]
    pub(crate) headers: Vec<String>,

    /// How many connections are on their way at the same time
    #[arg(long, default_value_t = 100, help_heading = "The run", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) handshakes: u32,

    /// How many seconds nothing may happen before a wait is given up
    #[arg(long, default_value_t = 10.0, value_parser = seconds, value_name = "SECONDS", help_heading = "The run")]
    pub(crate) patience: f64,

    /// Print one JSON object instead of a table
    #[arg(long, help_heading = "The run")]
    #[serde(skip)]
    pub(crate) json: bool,
}

impl Shared {
    pub(crate) fn publish_urls(&self) -> Vec<Url> {
        match &self.publish_url {
            Some(url) => vec![url.clone()],
            None => self.url.iter().map(|url| url.with_path("/_broadcast")).collect(),
        }
    }

    pub(crate) fn handshake_options(&self, presence: bool) -> HandshakeOptions {
        let usual = if presence { "actioncable-v1-ext-json" } else { "actioncable-v1-json" };
        HandshakeOptions {
            protocol: self.protocol.clone().unwrap_or_else(|| usual.to_owned()),
            token: self.token.clone(),
            origin: self.origin.clone(),
            headers: self.headers.clone(),
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::try_from_secs_f64(self.patience).unwrap_or(Duration::MAX)
    }
}
