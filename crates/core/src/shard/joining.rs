//! Presence: who joins, who leaves, who is there.

use std::sync::Arc;
use std::time::Instant;

use super::application::Full;
use super::{Shard, subscriber_mut};
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::stream::presence::RecordKey;
use crate::types::{
    CommandKind, Join, JoinCause, LeaveCause, Limit, Listing, MemberChange, NOT_PRESENT,
    PresenceChange, PresenceId, ServerMessage, UpdateCause,
};

impl<R: Destination> Shard<R> {
    pub(super) fn join(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        join: Join,
        cause: JoinCause,
        now: Instant,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        let Some(subscriber) = subscriber_mut(stream, key) else { return false };
        let record = subscriber.record;
        let join = stream.presence.with_extra(join);
        let change = if let Some(record) = record {
            if stream.presence.id_of(record) != Some(&join.id) {
                let reason = "this subscription has joined under another id: leave first";
                self.refuse(index, key, CommandKind::Join, reason.into());
                return false;
            }
            stream.presence.update(record, join.info, join.extra)
        } else {
            match self.add_record(index, key, join) {
                Ok(change) => change,
                Err(reason) => {
                    self.refuse(index, key, CommandKind::Join, reason.into());
                    return false;
                }
            }
        };
        self.followed(CommandKind::Join);
        if let Some(change) = change {
            self.keep_joined(index, key, &change);
            self.tell_join(index, change, cause, now);
        }
        true
    }

    /// Makes a subscription present: with a new record, or with that of an orphan. `Err` is why it can't be.
    fn add_record(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        join: Join,
    ) -> Result<Option<PresenceChange>, String> {
        self.check_room(index, &join.id).map_err(|full| full.to_string())?;
        let most = self.settings.max_records;
        let Some(stream) = self.streams.get_mut(index as usize) else { return Ok(None) };
        let Some(subscriber) = subscriber_mut(stream, key) else { return Ok(None) };
        if let Err(records) = subscriber.recipient.add_record(most) {
            self.counts.limits.push(Limit::Records);
            return Err(format!(
                "this client has joined {records} times, at most {most} are allowed: leave first"
            ));
        }
        if let Some((record, change)) = stream.presence.adopt(&join) {
            self.hand_over(index, key, record, &join);
            return Ok(change);
        }
        let (record, change) = stream.presence.add(join);
        self.totals.records += 1;
        if let Some(subscriber) = subscriber_mut(stream, key) {
            subscriber.record = Some(record);
        }
        Ok(Some(change))
    }

    /// Whether a subscription is present, as those who speak under a name have to be: nobody hears from
    /// somebody they don't see. It is refused if it isn't.
    pub(super) fn check_author(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        kind: CommandKind,
    ) -> bool {
        let stream = self.streams.get_mut(index as usize);
        let subscriber = stream.and_then(|stream| subscriber_mut(stream, key));
        let is_present = subscriber.is_some_and(|subscriber| subscriber.record.is_some());
        if !is_present {
            self.refuse(index, key, kind, NOT_PRESENT.into());
        }
        is_present
    }

    /// Gives who has joined another info.
    pub(super) fn update(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        join: Join,
        now: Instant,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        if subscriber_mut(stream, key).is_some_and(|subscriber| subscriber.record.is_some()) {
            return self.join(index, key, join, JoinCause::Joined, now);
        }
        let reason = "this subscription has not joined: join first";
        self.refuse(index, key, CommandKind::Join, reason.into());
        false
    }

    /// Whether a stream may have a member of this id; counted if it may not.
    pub(super) fn check_room(&mut self, index: u32, id: &PresenceId) -> Result<(), Full> {
        let most = self.settings.max_members;
        let Some(stream) = self.streams.get(index as usize) else { return Ok(()) };
        if stream.presence.members() < most || stream.presence.has(id) {
            return Ok(());
        }
        self.counts.limits.push(Limit::Members);
        Err(Full(most))
    }

    /// Tells that a record was added, or is another one now.
    pub(super) fn tell_join(
        &mut self,
        index: u32,
        change: PresenceChange,
        cause: JoinCause,
        now: Instant,
    ) {
        match &change.member {
            MemberChange::Joined { .. } => {
                self.totals.members += 1;
                self.counts.joins.push(cause);
            }
            MemberChange::Updated { .. } => self.counts.updates.push(UpdateCause::Changed),
            MemberChange::Left | MemberChange::Unchanged => {}
        }
        self.tell_change(index, change, now);
    }

    /// Gives a subscription the record of a session that has ended and can't come back, so that a
    /// page that is loaded anew isn't a second device until the TTL is over.
    fn hand_over(&mut self, index: u32, key: &SubscriberKey, record: RecordKey, join: &Join) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        if let Some(deadline) = stream.presence.deadline_mut(record).and_then(Option::take) {
            self.deadlines.cancel(deadline);
        }
        if let Some(subscriber) = subscriber_mut(stream, key) {
            subscriber.record = Some(record);
        }
        self.keep_adopted(index, key, record, join);
    }

    pub(super) fn leave(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        id: Option<&PresenceId>,
        now: Instant,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        let record = subscriber_mut(stream, key).and_then(|subscriber| subscriber.record);
        let is_who = |record: &RecordKey| id.is_none() || stream.presence.id_of(*record) == id;
        let Some(record) = record.filter(is_who) else {
            let reason = match record {
                None => "this subscription has not joined",
                Some(_) => "this subscription has joined under another id",
            };
            self.refuse(index, key, CommandKind::Leave, reason.into());
            return false;
        };
        if let Some(subscriber) = subscriber_mut(stream, key) {
            subscriber.record = None;
            subscriber.recipient.remove_record();
        }
        self.remove_record(index, record, LeaveCause::Left, now);
        self.followed(CommandKind::Leave);
        true
    }

    pub(super) fn list(&mut self, index: u32, key: &SubscriberKey, listing: Listing) {
        if let Some(answer) = self.listed(index, key, listing) {
            self.reply(index, key, [answer]);
        }
    }

    /// Tells who is present ahead of the events that led to it.
    pub(super) fn list_ahead(&mut self, index: u32, key: &SubscriberKey, listing: Listing) {
        let Some(answer) = self.listed(index, key, listing) else { return };
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let Some(subscriber) = subscriber_mut(stream, key) else { return };
        let recipient = subscriber.recipient.clone();
        self.send(recipient, key, vec![answer]);
    }

    /// What a subscriber is told that asks who is present; `None` if it is refused.
    fn listed(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        listing: Listing,
    ) -> Option<ServerMessage> {
        let stream = self.streams.get_mut(index as usize)?;
        let most = self.settings.max_answer;
        let size = match listing {
            Listing::Count => 0,
            Listing::Members => stream.presence.size(),
            Listing::Records => stream.presence.records_size(),
        };
        if size > most {
            let reason = format!(
                "the list has {size} bytes, at most {most} are allowed: ask for the number alone"
            );
            self.counts.limits.push(Limit::AnswerSize);
            self.refuse(index, key, CommandKind::Presence, reason.into());
            return None;
        }
        let answer = match listing {
            Listing::Count => ServerMessage::PresenceCount(stream.presence.members()),
            Listing::Members => ServerMessage::PresenceList(stream.presence.list()),
            Listing::Records => ServerMessage::PresenceRecords(stream.presence.list_records()),
        };
        self.followed(CommandKind::Presence);
        Some(answer)
    }

    pub(super) fn remove_record(
        &mut self,
        index: u32,
        record: RecordKey,
        cause: LeaveCause,
        now: Instant,
    ) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        if let Some(deadline) = stream.presence.deadline_mut(record).and_then(Option::take) {
            self.deadlines.cancel(deadline);
        }
        let owner = stream.presence.take_owner(record);
        let Some(change) = stream.presence.remove(record, cause) else { return };
        self.keep_left(index, owner, &change.id);
        self.totals.records -= 1;
        self.count_removal(&change, cause);
        self.tell_change(index, change, now);
    }

    fn tell_change(&mut self, index: u32, change: PresenceChange, now: Instant) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let counts = change.member.comes_or_goes();
        if matches!(change.member, MemberChange::Joined { .. }) {
            stream.presence.arrived(&change.id, self.ticks.at(now));
        }
        let message = ServerMessage::Presence(Arc::new(change));
        self.note(index, &message, now);
        self.note_observed(index, &message);
        self.say(index, message, None, now);
        if counts {
            self.count_changed(index, now);
        }
    }

    fn count_removal(&mut self, change: &PresenceChange, cause: LeaveCause) {
        match change.member {
            MemberChange::Left => {
                self.totals.members -= 1;
                self.counts.leaves.push(cause);
            }
            MemberChange::Updated { .. } => self.counts.updates.push(UpdateCause::Departed),
            MemberChange::Joined { .. } | MemberChange::Unchanged => {}
        }
    }
}
