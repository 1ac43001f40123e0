//! What every scenario works with.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::Plan;
use crate::clock;
use crate::crowd::{Crowd, Listener, Server};
use crate::handshake::{Handshake, HandshakeOptions};
use crate::meter::Meter;
use crate::publisher::Publishers;
use crate::report::Report;
use crate::target::Url;

/// The longest a turn takes when nothing happens, so that peaks are seen and patience ends.
const TURN: Duration = Duration::from_millis(50);

pub(crate) struct Bench {
    /// The server's WebSockets.
    pub(crate) urls: Vec<Url>,
    pub(crate) handshake_options: HandshakeOptions,
    pub(crate) crowd: Crowd,
    pub(crate) meter: Meter,
    pub(crate) report: Report,
    /// How long nothing may happen before a wait is given up.
    pub(crate) patience: Duration,
    /// Handshakes under way at the same time.
    pub(crate) at_once: usize,
}

impl Bench {
    /// Opens a client for each plan, and waits until all have what they asked for.
    pub(crate) fn open(
        &mut self,
        plans: Vec<Plan>,
        listener: &mut impl Listener,
    ) -> anyhow::Result<()> {
        let progress = progress("connecting", plans.len() as u64);
        let mut plans = plans.into_iter();
        self.crowd.open(&mut plans, self.at_once, self.patience, &progress, listener)
    }

    /// The same in a crowd of its own.
    pub(crate) fn open_in(
        &self,
        crowd: &mut Crowd,
        plans: Vec<Plan>,
        listener: &mut impl Listener,
    ) -> anyhow::Result<()> {
        let progress = progress("connecting", plans.len() as u64);
        crowd.open(&mut plans.into_iter(), self.at_once, self.patience, &progress, listener)
    }

    /// Clients of other servers, in the same streams.
    pub(crate) fn crowd_of(&self, urls: &[Url], publishers: Publishers) -> anyhow::Result<Crowd> {
        let cable = self.crowd.state.cable.clone();
        Crowd::new(servers(urls, &self.handshake_options)?, cable, publishers)
    }

    /// Serves for a while.
    pub(crate) fn pass(
        &mut self,
        seconds: f64,
        what: &'static str,
        listener: &mut impl Listener,
    ) -> anyhow::Result<()> {
        let progress = progress(what, 0);
        let end = clock::now() + clock::seconds(seconds);
        while clock::now() < end {
            self.crowd.serve_until(end.min(clock::now() + clock::seconds(0.1)), listener)?;
            progress.tick();
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Serves until `state` says that all has come. Gives up when the count it tells stands still for
    /// too long, or something went wrong; what is missing is for the scenario to account for.
    pub(crate) fn wait<L: Listener>(
        &mut self,
        what: &'static str,
        goal: u64,
        listener: &mut L,
        mut came: impl FnMut(&L, &Crowd) -> u64,
    ) -> anyhow::Result<()> {
        let progress = progress(what, goal);
        let (mut last, mut since) = (came(listener, &self.crowd), clock::now());
        while last < goal {
            self.crowd.turn(TURN, listener)?;
            let (count, now) = (came(listener, &self.crowd), clock::now());
            self.meter.sample(now)?;
            if count != last {
                (last, since) = (count, now);
                progress.set_position(count);
            } else if self.crowd.check().is_err() || now - since > clock::nanoseconds(self.patience)
            {
                break;
            }
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// What went wrong so far.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.crowd.check().err().map(|trouble| trouble.to_string())
    }
}

/// Where clients connect to.
pub(crate) fn servers(urls: &[Url], options: &HandshakeOptions) -> anyhow::Result<Vec<Server>> {
    let server =
        |url: &Url| Ok(Server { address: url.resolve()?, handshake: Handshake::new(url, options) });
    urls.iter().map(server).collect()
}

/// On a terminal only, and on stderr.
pub(crate) fn progress(what: &'static str, length: u64) -> ProgressBar {
    let progress = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let template = if length == 0 {
        "{msg} {spinner} {elapsed}"
    } else {
        "{msg} {bar:40} {human_pos}/{human_len} {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        progress.set_style(style);
    }
    progress.set_message(what);
    progress
}
