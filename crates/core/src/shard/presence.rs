//! Presence commands: join, update, leave, list.

use std::time::Instant;

use super::Shard;
use crate::log::{Change, Void};
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::types::{
    CommandKind, Join, JoinCause, Limit, Listing, PresenceId, ServerMessage, StreamName,
};

impl<R: Destination> Shard<R> {
    /// Handles a join; an update (`is_update`) only if the subscription is present.
    pub(super) fn join(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        join: Join,
        (cause, is_update): (JoinCause, bool),
        now: Instant,
    ) -> bool {
        let Join { id, info, extra } = join;
        let (by, max_members) = (key.subscription(), self.settings.max_members);
        let change = Change::Joined { by, id, info, extra, cause, is_update, max_members };
        let adds = match self.may_join(index, key, &change) {
            Ok(adds) => adds,
            Err(refusal) => return self.refuse_join(index, key, refusal),
        };
        if let Err(void) = self.commit_change(index, change, now) {
            if adds {
                self.live_subscriber(index, key).recipient.remove_record();
            }
            return self.refuse_join(index, key, NoRecord::Void(void));
        }
        self.count_accepted(CommandKind::Join);
        true
    }

    /// Whether a join adds a record, which then counts toward its client's maximum.
    fn may_join(&self, index: u32, key: &SubscriberKey, join: &Change) -> Result<bool, NoRecord> {
        let stream = self.streams.live(index);
        if stream.state.presence().held_by(&key.subscription()).is_some() {
            return Ok(false);
        }
        self.live_subscriber(index, key).recipient.add_record(self.max_records()).map_err(
            |records| {
                // that it can't join at all is the better reason
                stream.state.verdict(join).err().map_or(NoRecord::TooMany(records), NoRecord::Void)
            },
        )?;
        Ok(true)
    }

    fn refuse_join(&mut self, index: u32, key: &SubscriberKey, refusal: NoRecord) -> bool {
        match refusal {
            NoRecord::Void(void) => self.refuse_void(index, key, CommandKind::Join, void),
            NoRecord::TooMany(records) => {
                let max = self.settings.max_records;
                self.counts.limits.push(Limit::Records);
                let reason = format!(
                    "this client has joined {records} times, at most {max} are allowed: leave first"
                );
                self.refuse(index, key, CommandKind::Join, reason.into());
            }
        }
        false
    }

    pub(super) fn leave(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        id: Option<PresenceId>,
        now: Instant,
    ) -> bool {
        let change = Change::Left { by: key.subscription(), id };
        if let Err(void) = self.commit_change(index, change, now) {
            self.refuse_void(index, key, CommandKind::Leave, void);
            return false;
        }
        self.live_subscriber(index, key).recipient.remove_record();
        self.count_accepted(CommandKind::Leave);
        true
    }

    /// The presence id of a subscription's record.
    pub(super) fn present_as(&self, name: &StreamName, key: &SubscriberKey) -> Option<PresenceId> {
        let presence = self.streams.named(name)?.state.presence();
        presence.held_by(&key.subscription()).map(|record| presence.id_of(record).clone())
    }

    pub(super) fn list(&mut self, index: u32, key: &SubscriberKey, listing: Listing) {
        if let Some(answer) = self.listed(index, key, listing) {
            self.reply(index, key, [answer]);
        }
    }

    /// Sends a list ahead of the events that led to it.
    pub(super) fn list_ahead(&mut self, index: u32, key: &SubscriberKey, listing: Listing) {
        let Some(answer) = self.listed(index, key, listing) else { return };
        let recipient = self.live_subscriber(index, key).recipient.clone();
        self.send(recipient, key, vec![answer]);
    }

    /// The reply to a list request; `None` if it is refused.
    fn listed(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        listing: Listing,
    ) -> Option<ServerMessage> {
        let stream = self.streams.live(index);
        let max = self.settings.max_answer;
        let size = match listing {
            Listing::Count => 0,
            Listing::Members => stream.state.presence().size(),
            Listing::Records => stream.state.presence().records_size(),
        };
        if size > max {
            let reason = format!(
                "the list has {size} bytes, at most {max} are allowed: ask for the number alone"
            );
            self.counts.limits.push(Limit::AnswerSize);
            self.refuse(index, key, CommandKind::Presence, reason.into());
            return None;
        }
        let answer = match listing {
            Listing::Count => ServerMessage::PresenceCount(stream.state.presence().members()),
            Listing::Members => ServerMessage::PresenceList(stream.state.presence().list()),
            Listing::Records => ServerMessage::PresenceRecords(
                stream.state.presence().list_records(self.settings.log),
            ),
        };
        self.count_accepted(CommandKind::Presence);
        Some(answer)
    }
}

/// Why a join is refused.
#[derive(Clone, Copy)]
enum NoRecord {
    Void(Void),
    /// The client has this many records, the maximum.
    TooMany(usize),
}
