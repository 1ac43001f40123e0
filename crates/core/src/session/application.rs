//! Sessions in which the application has a say.

use std::num::NonZero;

use super::channels::Channels;
use super::session::Session;
use super::subscription::Subscription;
use crate::log::{ChannelState, SessionState};
use crate::types::{Identity, SessionId};

impl Session {
    /// Lets the application be asked about channels.
    #[must_use]
    pub fn with_channels(mut self, channels: Option<Box<Channels>>) -> Self {
        self.channels = channels;
        self
    }

    /// A session that a log has, with its channels.
    pub fn known(sid: SessionId, state: &SessionState) -> Self {
        let mut session = Self::restored(sid, state.identity);
        for ChannelState { identifier, watch, streams, .. } in &state.channels {
            let mut held = Subscription::of_channel(identifier.clone(), *watch);
            held.set_streams(streams.iter().cloned());
            session.subscriptions.push(held);
        }
        session.with_channels(Some(Box::new(Channels::restored(state))))
    }

    /// Adds to what a log knows of the session what the streams have of it, which says what can be resumed. A channel is
    /// given up of which a stream has nothing yet.
    #[must_use]
    pub fn with_parked(mut self, parked: Self) -> Self {
        let Some(channels) = &self.channels else { return parked };
        let is_whole = |held: &Subscription| {
            let at = parked.position(held.identifier.as_str());
            let parked = at.and_then(|at| parked.subscriptions.get(at));
            let has = |stream| parked.is_some_and(|it| it.streams().any(|other| other == stream));
            held.streams().all(has)
        };
        self.subscriptions.retain(|held| is_whole(held));
        let is_channel = |held: &Subscription| channels.channel(held.identifier.as_str()).is_some();
        let others: Vec<_> =
            parked.subscriptions.into_iter().filter(|held| !is_channel(held)).collect();
        self.subscriptions.extend(others);
        self
    }

    /// What the application knows of it, if that is kept.
    pub fn state(&self) -> Option<SessionState> {
        let channels = self.channels.as_ref().filter(|channels| channels.is_kept())?;
        Some(channels.state(self.identity, &self.subscriptions))
    }

    /// Whether the application may be asked about it.
    pub fn has_channels(&self) -> bool {
        self.channels.is_some()
    }

    /// Whether it can outlive its connection.
    pub fn may_be_resumed(&self) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.resumes())
    }

    /// What the application knows of it.
    pub fn channels_mut(&mut self) -> Option<&mut Channels> {
        self.channels.as_deref_mut()
    }

    /// What the application knows of it; taken when it is over.
    pub fn take_channels(&mut self) -> Option<Box<Channels>> {
        self.channels.take()
    }

    /// Notes that the application connected the client.
    #[must_use]
    pub fn by_application(mut self) -> Self {
        self.identity = self.identity.by_application();
        self
    }

    /// Makes its client one that has a sid to show and nothing else.
    #[must_use]
    pub fn as_bearer(mut self) -> Self {
        self.identity = Identity::BEARER;
        self
    }

    /// How long a subscription's member stays after the connection's end, in seconds, if the application says.
    pub fn presence_ttl(&self, held: &Subscription) -> Option<NonZero<u32>> {
        self.channels.as_ref()?.ttl(held.identifier.as_str())
    }
}
