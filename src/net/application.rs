//! The application that is asked about clients and their channels.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::handshake::OriginRules;
use crate::app::rpc::Caller;
use crate::config::{DisconnectConfig, DisconnectMode};
use crate::session::Channels;
use crate::types::{Call, CallFailure, Reply};

/// Maximum time for which an extended client waits for a subscription: it gives up after 10 s, for good.
const SUBSCRIBE: Duration = Duration::from_secs(9);

/// Pause before a call that didn't reach the application is made again.
const PAUSE: Duration = Duration::from_millis(200);

/// The application that is asked about clients and their channels.
#[derive(Debug)]
pub struct Application {
    /// Asks it.
    pub caller: Arc<Caller>,
    /// What it learns of a handshake.
    pub rules: OriginRules,
    /// Whether it is asked about clients without a token.
    pub connects: bool,
    /// Maximum time for a call.
    pub patience: Duration,
    /// Which ends of sessions it learns.
    pub disconnects: DisconnectConfig,
}

impl Application {
    /// Whether it is told that a session is over.
    pub(super) fn tells(&self, channels: &Channels) -> bool {
        let is_wanted = match self.disconnects.mode {
            DisconnectMode::Auto => channels.is_known(),
            DisconnectMode::Always => true,
            DisconnectMode::Never => false,
        };
        is_wanted && !channels.is_told()
    }

    /// Maximum time for any call.
    pub(super) fn longest(&self) -> Duration {
        self.patience.max(SUBSCRIBE)
    }

    /// Asks about a client's command.
    ///
    /// With `repeats`, it is a subscribe of a client that gives up on it for good. So the question is kept up as long as
    /// the client waits. A call that may have run is made anew only when the client repeats the command; `repeats` has
    /// the number of that call then.
    pub(super) async fn ask(
        self: Arc<Self>,
        mut call: Call,
        repeats: Option<watch::Receiver<u32>>,
    ) -> Result<Box<Reply>, CallFailure> {
        let Some(mut repeats) = repeats else {
            return Arc::clone(&self.caller).call(call, self.patience).await;
        };
        let mut end = pin!(tokio::time::sleep(self.longest()));
        loop {
            let asked = Arc::clone(&self.caller).call(call.clone(), self.patience);
            let failure = tokio::select! {
                reply = asked => match reply {
                    Ok(reply) => return Ok(reply),
                    Err(failure) => failure,
                },
                () = &mut end => return Err(CallFailure::Late),
            };
            let again = async {
                let is_there = repeats.has_changed().is_ok();
                if failure.has_not_run() && is_there {
                    tokio::time::sleep(PAUSE).await;
                } else if repeats.changed().await.is_ok() {
                    call.number = *repeats.borrow_and_update();
                } else {
                    return false; // the client has gone
                }
                true
            };
            tokio::select! {
                is_asked_again = again => if !is_asked_again { return Err(failure) },
                () = &mut end => return Err(failure),
            }
        }
    }
}
