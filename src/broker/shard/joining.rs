//! Presence: who joins, who leaves, who is there.

use std::sync::Arc;
use std::time::Instant;

use super::{Shard, subscriber_mut};
use crate::broker::input::SubscriberKey;
use crate::broker::presence::RecordKey;
use crate::types::{
    CommandKind, Join, JoinCause, LeaveCause, Limit, MemberChange, PresenceChange, ServerMessage,
    UpdateCause,
};

impl<R: Clone> Shard<R> {
    pub(super) fn join(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        join: Join,
        cause: JoinCause,
        now: Instant,
    ) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let Some(subscriber) = subscriber_mut(stream, key) else { return };
        let change = match subscriber.record {
            None => {
                let most = self.settings.max_members;
                if stream.presence.members() >= most && !stream.presence.has(&join.id) {
                    let reason = format!("the stream is full: at most {most} members are allowed");
                    self.counts.limits.push(Limit::Members);
                    self.refuse(index, key, CommandKind::Join, reason.into());
                    return;
                }
                let (record, change) = stream.presence.add(join.id, join.info);
                self.totals.records += 1;
                if let Some(subscriber) = subscriber_mut(stream, key) {
                    subscriber.record = Some(record);
                }
                Some(change)
            }
            Some(record) => {
                let present = stream.presence.id_of(record);
                if present != Some(&join.id) {
                    let reason = "this subscription has joined under another id: leave first";
                    self.refuse(index, key, CommandKind::Join, reason.into());
                    return;
                }
                stream.presence.update(record, join.info)
            }
        };
        self.followed(CommandKind::Join);
        if let Some(change) = change {
            self.keep_joined(index, key, &change);
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
    }

    pub(super) fn leave(&mut self, index: u32, key: &SubscriberKey, now: Instant) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let Some(subscriber) = subscriber_mut(stream, key) else { return };
        match subscriber.record.take() {
            None => {
                let reason = "this subscription has not joined";
                self.refuse(index, key, CommandKind::Leave, reason.into());
            }
            Some(record) => {
                self.remove_record(index, record, LeaveCause::Left, now);
                self.followed(CommandKind::Leave);
            }
        }
    }

    pub(super) fn list(&mut self, index: u32, key: &SubscriberKey, records: bool) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let most = self.settings.max_answer;
        if records && stream.presence.size() > most {
            let size = stream.presence.size();
            let reason = format!(
                "the list has {size} bytes, at most {most} are allowed: ask for the number alone"
            );
            self.counts.limits.push(Limit::AnswerSize);
            self.refuse(index, key, CommandKind::Presence, reason.into());
            return;
        }
        let answer = if records {
            ServerMessage::PresenceList(stream.presence.list())
        } else {
            ServerMessage::PresenceCount(stream.presence.members())
        };
        self.reply(index, key, [answer]);
        self.followed(CommandKind::Presence);
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
        let owner = stream.presence.owner_mut(record).and_then(Option::take);
        let Some(change) = stream.presence.remove(record, cause) else { return };
        self.keep_left(index, owner);
        self.totals.records -= 1;
        self.count_removal(&change, cause);
        self.tell_change(index, change, now);
    }

    fn tell_change(&mut self, index: u32, change: PresenceChange, now: Instant) {
        let message = ServerMessage::Presence(Arc::new(change));
        self.note(index, &message, now);
        self.say(index, message, None, now);
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
