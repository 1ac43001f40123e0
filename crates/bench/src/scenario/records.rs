//! Records of the application, put over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::run::{Needs, Run};
use crate::args;
use crate::bench::{self, Bench};
use crate::crowd::Nobody;
use crate::http;
use crate::numbers::{each, float};
use crate::server_process::Memory;
use crate::target::{self, Url};

/// Requests on their way over one connection: few enough that neither side waits for the other to read.
const PIPELINE: u32 = 64;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Records {
    /// How many records
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// How many streams they spread over
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,

    /// Bytes of each info, at least 11
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(11..=4096))]
    info_size: u32,

    /// How many HTTP connections put them
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    publishers: u32,

    /// Where the presence API is; by default /api/presence on the port of --url
    #[arg(long, value_name = "URL", value_parser = Url::http)]
    #[serde(skip)]
    api_url: Option<Url>,

    /// Its key, sent as `Authorization: Bearer KEY`
    #[arg(long, value_name = "KEY")]
    #[serde(skip)]
    api_key: Option<String>,

    /// How long to wait, in seconds, before memory is looked at
    #[arg(long, default_value_t = 3.0, value_parser = args::seconds)]
    settle: f64,
}

impl Run for Records {
    const NAME: &'static str = "records";

    fn needs(&self) -> Needs {
        Needs { connections: 0, presence: true, publishers: self.publishers, size: 0 }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let urls = match &self.api_url {
            Some(url) => vec![url.clone()],
            None => bench.urls.iter().map(|url| url.with_path("/api/presence")).collect(),
        };
        let mut putters = (0..self.publishers)
            .zip(urls.iter().cycle())
            .map(|(number, url)| Putter::open(url, number, bench.patience))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let progress = bench::progress("records", u64::from(self.count));
        let before = bench.meter.memory()?;
        let begun = bench.meter.begin()?;
        let (mut next, mut put) = (0, 0);
        while next < self.count {
            let mut asked = Vec::new();
            for putter in &mut putters {
                let many = PIPELINE.min(self.count - next);
                let requests: String = (next..next + many)
                    .map(|number| self.request(&putter.url, number, bench))
                    .collect();
                putter.stream.write_all(requests.as_bytes()).context(LOST)?;
                next += many;
                asked.push(many);
            }
            for (putter, many) in putters.iter_mut().zip(asked) {
                put += putter.read(many)?;
            }
            progress.set_position(u64::from(next));
        }
        progress.finish_and_clear();
        let span = bench.meter.end(&begun)?;
        bench.pass(self.settle, "settling", &mut Nobody)?;
        let after = bench.meter.memory()?;

        let report = &mut bench.report;
        report.count("streams", "streams", u64::from(self.streams));
        report.account("records", u64::from(self.count), put);
        report.growth("record", put, before, after);
        if let (Some(Memory { now: before, .. }), Some(Memory { now: after, .. })) = (before, after)
        {
            let infos = u64::from(self.info_size) * put;
            let beside = each(float(after.saturating_sub(before + infos)), put);
            report.number("server_memory_beside_info_bytes", "  beside its info", beside, "bytes");
        }
        report.cost("", &span, Some(("record", put)));
        let rate = float(put) / span.seconds;
        report.number("records_per_second", "records a second", rate, "");
        Ok(())
    }
}

const LOST: &str = "the connection for records was lost";

impl Records {
    fn request(&self, url: &Url, number: u32, bench: &Bench) -> String {
        let stream = bench.crowd.state.cable.stream(number % self.streams);
        let name = "x".repeat((self.info_size as usize).saturating_sub(r#"{"name":""}"#.len()));
        let body = format!(r#"{{"info":{{"name":"{name}"}}}}"#);
        let key = self.api_key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n"));
        format!(
            "PUT {}/{stream}/m-{number} HTTP/1.1\r\nHost: {}\r\n{}Content-Length: {}\r\n\r\n{body}",
            url.path,
            url.authority(),
            key.unwrap_or_default(),
            body.len(),
        )
    }
}

/// A connection over which records are put.
struct Putter {
    url: Url,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Putter {
    fn open(url: &Url, number: u32, patience: Duration) -> anyhow::Result<Self> {
        let address = url.resolve()?;
        let reached = TcpStream::connect_timeout(&address, patience);
        let stream = reached.map_err(|error| target::unreachable(address, &error))?;
        stream.set_read_timeout(Some(patience)).context("a deadline can't be set")?;
        stream.set_write_timeout(Some(patience)).context("a deadline can't be set")?;
        stream.set_nodelay(true).with_context(|| format!("connection {number}"))?;
        Ok(Self { url: url.clone(), stream, input: Vec::new() })
    }

    /// Reads so many answers. How many records are new.
    fn read(&mut self, answers: u32) -> anyhow::Result<u64> {
        let url = &self.url;
        let (mut left, mut created) = (answers, 0);
        let mut bytes = vec![0; 64 * 1024];
        while left > 0 {
            while let Some((answer, length)) = http::next(&self.input) {
                self.input.drain(..length);
                left = left.saturating_sub(1);
                match answer.status {
                    201 => created += 1,
                    401 => bail!("{url} wants a key: see --api-key"),
                    404 | 405 => bail!(
                        "{url} takes no records: this scenario needs the broker's presence API, \
                         see --api-url"
                    ),
                    other => bail!("a record was refused with {other}: {}", answer.body.trim()),
                }
            }
            if left > 0 {
                let length = self.stream.read(&mut bytes).context(LOST)?;
                if length == 0 {
                    bail!(LOST);
                }
                self.input.extend_from_slice(bytes.get(..length).unwrap_or_default());
            }
        }
        Ok(created)
    }
}
