//! Counts publications as they arrive, and how long they were on their way.

use hdrhistogram::Histogram;

use crate::client::Client;
use crate::crowd::Listener;
use crate::ears::{Ears, Heard};
use crate::latency;

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
    fn hear(&mut self, _: &mut Client, heard: Heard, _: &[u8], now: u64, _: &Ears) {
        if let Heard::Published(sent) = heard
            && sent >= self.since
        {
            self.count += 1;
            self.latency.saturating_record(now.saturating_sub(sent) / 1000);
        }
    }
}
