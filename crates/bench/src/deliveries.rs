//! Counts publications as they arrive, and how long they were on their way.

use hdrhistogram::Histogram;

use crate::client::Client;
use crate::crowd::Listener;
use crate::latency;
use crate::received::{Classifier, Received};

pub(crate) struct Deliveries {
    /// Publications sent before aren't counted.
    pub(crate) since: u64,
    pub(crate) count: u64,
    /// In microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Deliveries {
    pub(crate) fn new() -> Self {
        Self { since: 0, count: 0, latency: latency::histogram() }
    }

    /// Counts from now on.
    pub(crate) fn begin(&mut self, now: u64) {
        (self.since, self.count) = (now, 0);
        self.latency.reset();
    }
}

impl Listener for Deliveries {
    fn on_message(
        &mut self,
        _: &mut Client,
        received: Received,
        _: &[u8],
        now: u64,
        _: &Classifier,
    ) {
        if let Received::Published(sent) = received
            && sent >= self.since
        {
            self.count += 1;
            self.latency.saturating_record(now.saturating_sub(sent) / 1000);
        }
    }
}
