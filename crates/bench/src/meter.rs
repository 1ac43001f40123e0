//! What a span of time cost the server, and this program.

use crate::clock;
use crate::numbers::float;
use crate::server_process::{Cpu, Memory, Processes, Spent};

/// How often the server's memory is looked at, in nanoseconds.
const SAMPLE_EVERY: u64 = 100_000_000;

pub(crate) struct Meter {
    server: Processes,
    own: Processes,
    peak: Peak,
}

/// The most memory the server had since someone began to watch.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    /// The kernel's own mark of the most there ever was, when the watch began.
    mark: u64,
    /// The most that was seen.
    seen: u64,
    next: u64,
}

/// The beginning of a span.
#[derive(Debug)]
pub(crate) struct Begun {
    at: u64,
    server: Cpu,
    own: Cpu,
}

/// A span that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) seconds: f64,
    /// Nothing if the server's processes weren't named.
    pub(crate) server: Option<Spent>,
    pub(crate) own: Spent,
}

impl Meter {
    pub(crate) fn new(server: Processes) -> Self {
        Self { server, own: Processes::own(), peak: Peak::default() }
    }

    /// The server's processes.
    pub(crate) fn server(&self) -> &Processes {
        &self.server
    }

    pub(crate) fn begin(&self) -> anyhow::Result<Begun> {
        Ok(Begun { at: clock::now(), server: self.server.cpu()?, own: self.own.cpu()? })
    }

    pub(crate) fn end(&self, begun: &Begun) -> anyhow::Result<Span> {
        let server = self.server.cpu()?;
        Ok(Span {
            seconds: float(clock::now() - begun.at) / 1e9,
            server: (!self.server.is_empty()).then(|| begun.server.until(&server)),
            own: begun.own.until(&self.own.cpu()?),
        })
    }

    /// The server's memory, if its processes were named.
    pub(crate) fn memory(&self) -> anyhow::Result<Option<Memory>> {
        if self.server.is_empty() { Ok(None) } else { self.server.memory().map(Some) }
    }

    /// From now on the peak of the memory is watched.
    pub(crate) fn watch_peak(&mut self) -> anyhow::Result<()> {
        let memory = self.memory()?.unwrap_or_default();
        self.peak = Peak { mark: memory.peak, seen: memory.now, next: 0 };
        Ok(())
    }

    /// To be called again and again while the peak is watched.
    pub(crate) fn sample(&mut self, now: u64) -> anyhow::Result<()> {
        if now >= self.peak.next {
            self.peak.next = now + SAMPLE_EVERY;
            self.peak.seen = self.peak.seen.max(self.memory()?.unwrap_or_default().now);
        }
        Ok(())
    }

    /// The most memory since the watch began: the kernel's mark if it has moved, else what was seen.
    pub(crate) fn peak(&self) -> anyhow::Result<Option<u64>> {
        let Some(memory) = self.memory()? else { return Ok(None) };
        let Peak { mark, seen, .. } = self.peak;
        Ok(Some(if memory.peak > mark { memory.peak } else { seen.max(memory.now) }))
    }
}
