//! Sessions in which the application has a say.

use std::num::NonZero;

use super::channels::Channels;
use super::session::Session;
use super::subscription::Subscription;
use crate::types::Identity;

impl Session {
    /// Lets the application be asked about channels.
    #[must_use]
    pub fn with_channels(mut self, channels: Option<Box<Channels>>) -> Self {
        self.channels = channels;
        self
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
