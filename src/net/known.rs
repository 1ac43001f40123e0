//! What the application knows of sessions: it is kept in the log, and the application is told once that a session is over.
//!
//! ```text
//! Connect accepted, a channel's state changes ─▶ keep ─▶ the log (a state directory, or the engine)
//! over: expired, ended, its node gone ─▶ claimed in the log ─▶ Disconnect ─▶ Told, and the log forgets it
//! ```
//!
//! Without a log, both are in the memory of this process, and end with it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::application::Application;
use super::context::Context;
use crate::cluster::TakenSession;
use crate::log::SessionChange;
use crate::node::{SessionChanging, Unavailable};
use crate::protocol;
use crate::session::{Channels, Session, Subscription};
use crate::types::{Call, SessionId, Target};

/// Pause before an end is claimed again that the engine didn't take.
const PAUSE: Duration = Duration::from_secs(1);

/// Maximum time for which a stop waits until the application knows the ends of sessions.
const TELLING: Duration = Duration::from_secs(3);

/// Resolves when what the application knows is kept, or can't be for now.
pub(super) type Keeping = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Context {
    /// Keeps what the application knows of a session, if that has changed and is kept at all.
    pub(super) fn keep(&self, session: &mut Session) -> Option<Keeping> {
        let (changing, router) = (self.begin_to_keep(session)?, Arc::clone(&self.router));
        Some(Box::pin(async move {
            // an error means the stop, or that the engine is out: it gets the change later
            router.session_changed(changing).await.ok();
        }))
    }

    /// The same before the answers that have changed it are sent. An engine isn't waited for: sessions of a node that is
    /// killed don't go on.
    pub(super) fn keep_first(&self, session: &mut Session) -> Option<Keeping> {
        if self.cluster.is_none() {
            return self.keep(session);
        }
        let room = self.begin_to_keep(session)?.room?;
        Some(Box::pin(room.wait()))
    }

    fn begin_to_keep(&self, session: &mut Session) -> Option<SessionChanging> {
        if !session.channels_mut().is_some_and(Channels::take_changed) {
            return None;
        }
        let (sid, state) = (session.id(), Arc::new(session.state()?));
        Some(self.router.change_session(SessionChange::Known { sid, state, left: None }))
    }

    /// Whether a session had channels and what the application knows of it is lost: it was another process's. So it can't
    /// go on.
    pub(super) fn has_lost_channels(&self, session: &Session) -> bool {
        let is_channel = |held: &Subscription| {
            let (target, _) = protocol::action_cable::target(held.identifier.as_str());
            matches!(target, Target::Channel(_))
        };
        self.application.is_some()
            && !session.has_channels()
            && session.subscriptions().iter().any(is_channel)
    }

    /// A session as the log knows it, of which another node has parked these subscriptions.
    pub(super) async fn with_known(&self, parked: Session) -> Session {
        if self.application.is_none() {
            return parked;
        }
        match self.router.known_session(parked.id()).await {
            Ok(Some(state)) => Session::known(parked.id(), &state).with_parked(parked),
            Ok(None) | Err(_) => parked,
        }
    }

    /// Has a session go on under another id in the log; `false` if it can't, as it goes on elsewhere or is over.
    pub(super) async fn move_session(&self, earlier: &mut Session, to: SessionId) -> bool {
        if !earlier.channels_mut().is_some_and(|channels| channels.is_in_log()) {
            return true;
        }
        let change = SessionChange::Moved { from: earlier.id(), to, left: None };
        let moving = self.router.change_session(change);
        matches!(self.router.session_changed(moving).await, Ok(Ok(())))
    }

    /// Tells the application that a session is over, if it should know.
    pub(super) fn say_goodbye(self: &Arc<Self>, mut session: Session) {
        let sid = session.id();
        let Some(channels) = session.take_channels() else { return };
        if !channels.is_in_log() {
            return self.tell(sid, *channels, None);
        }
        if self.router.is_stopped() {
            return; // the next process, or another node, finds it in the log
        }
        if self.cluster.is_none() {
            return self.tell(sid, *channels, Some(sid));
        }
        let context = Arc::clone(self);
        self.goodbyes.spawn(async move {
            if context.claim_end(sid).await {
                context.tell(sid, *channels, Some(sid));
            }
        });
    }

    /// Whether the session is this node's to end. Another one may have resumed it, or taken it over.
    async fn claim_end(&self, sid: SessionId) -> bool {
        let stays = SessionChange::Moved { from: sid, to: sid, left: None };
        loop {
            let claiming = self.router.change_session(stays.clone());
            match self.router.session_changed(claiming).await {
                Ok(result) => return result.is_ok(),
                Err(Unavailable::Late) => tokio::time::sleep(PAUSE).await,
                Err(Unavailable::Stopping) => return false, // other nodes find it in the log
            }
        }
    }

    /// Tells the application that a session is over, which its client had as `sid`, and then the log, which has it as
    /// `known`.
    fn tell(self: &Arc<Self>, sid: SessionId, channels: Channels, known: Option<SessionId>) {
        let application = self.application.as_ref().filter(|it| it.tells(&channels));
        let Some(application) = application else {
            return self.forget_known(known);
        };
        let context = Arc::downgrade(self);
        let call = named(application, channels.disconnect(sid));
        application.caller.tell(call, move || {
            if let Some(context) = context.upgrade() {
                context.forget_known(known);
            }
        });
    }

    /// The application knows that a session is over, or needn't.
    fn forget_known(&self, known: Option<SessionId>) {
        let Some(sid) = known else { return };
        if let Some(room) = self.router.change_session(SessionChange::Told { sid }).room {
            self.goodbyes.spawn(room.wait());
        }
    }

    /// Tells the application of the end of a session's connection, if that is what it wants to know.
    pub(super) fn say_goodbye_early(&self, session: &mut Session) {
        let Some(application) = self.application.as_ref().filter(|it| it.disconnects.at_once)
        else {
            return;
        };
        let sid = session.id();
        if let Some(channels) = session.channels_mut()
            && application.tells(channels)
        {
            let call = channels.disconnect_early(sid);
            application.caller.tell(named(application, call), || ());
        }
        if let Some(keeping) = self.keep(session) {
            self.tasks.spawn(keeping);
        }
    }

    /// Tells the application the ends of sessions: of those that have expired or were ended here, and of those that nodes had
    /// which are gone.
    pub fn say_goodbyes_due(self: &Arc<Self>) {
        for over in self.sessions.expire(self.clock.now()) {
            self.say_goodbye(over);
        }
        let taken = self.cluster.iter().flat_map(|cluster| cluster.take_taken());
        for TakenSession { was, sid, state } in taken {
            self.tell(was, Channels::restored(&state), Some(sid));
        }
    }

    /// Begins to tell the application that all sessions are over, if they don't outlive this process: those that wait for
    /// their clients at once, and others once their connections have ended.
    pub fn say_last_goodbyes(self: &Arc<Self>) {
        let Some(application) = self.application.as_ref().filter(|_| !self.keeps_sessions()) else {
            return;
        };
        application.caller.tell_fast();
        for over in self.sessions.end_all() {
            self.say_goodbye(over);
        }
    }

    /// Waits for a while until the application knows the ends of sessions that are in the log. Those left stay there.
    pub async fn finish_kept_goodbyes(&self) {
        let Some(application) = self.application.as_ref().filter(|_| self.keeps_sessions()) else {
            return;
        };
        application.caller.tell_fast();
        let told = async {
            self.goodbyes.close();
            self.goodbyes.wait().await;
            application.caller.all_told().await;
        };
        tokio::time::timeout(TELLING, told).await.ok();
    }

    /// Ends all connections that only wait for the application.
    pub fn give_up_calls(&self) {
        if let Some(application) = &self.application {
            application.caller.give_up();
        }
    }

    /// Waits until the application knows all ends of sessions that are in no log.
    pub async fn all_told(&self) {
        if let Some(application) = self.application.as_ref().filter(|_| !self.keeps_sessions()) {
            application.caller.all_told().await;
        }
    }

    fn keeps_sessions(&self) -> bool {
        self.router.keeps_sessions()
    }

    /// Number of ends of sessions that the application may not know yet.
    pub fn untold(&self) -> usize {
        self.application.as_ref().map_or(0, |application| application.caller.untold())
    }
}

/// A notice that a session is over, with its id: the session's first sid. Where each connection's end is told, each has an id
/// of its own.
fn named(application: &Application, call: Call) -> Call {
    if application.disconnects.at_once { Call { first: call.session, ..call } } else { call }
}
