//! Fan-out: messages go into the stream's window, and walks over the subscribers bring them to its end.

use std::time::Instant;

use super::{MAX_BACKLOG, Shard, weight};
use crate::log::Position;
use crate::shard::delivery::{Delivery, Destination, FanOut};
use crate::shard::member_lists::{LONGEST_PAUSE, repeat_to};
use crate::shard::stream::Stream;
use crate::types::{ServerMessage, SessionId};

impl<R: Destination> Shard<R> {
    pub(super) fn next_fan_out(&mut self, max: usize, now: Instant) -> Option<FanOut<R>> {
        debug_assert!(self.replies.is_empty(), "replies come first");
        while let Some(key) = self.next_pass(now) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            let Some(since) = stream.behind_since else { continue };
            let slice = stream.next_slice(max, self.settings.max_answer, now);
            if stream.pass_is_over() {
                self.counts.fan_outs.push(since);
                self.backlog -= stream.window.weight();
                let more = stream.end_pass(self.ticks, now);
                self.backlog += stream.window.weight();
                if more {
                    stream.behind_since = Some(now);
                    stream.want_pass();
                    self.passes.push_back(key);
                } else {
                    stream.behind_since = None;
                    self.forget_if_idle(key);
                }
            } else {
                self.passes.push_back(key);
            }
            if slice.is_some() {
                return slice;
            }
        }
        None
    }

    fn next_pass(&mut self, now: Instant) -> Option<u32> {
        if let Some(key) = self.passes.pop_front() {
            return Some(key);
        }
        let is_over_backlog = self.is_over_backlog();
        if let Some(key) = self.next_paused((!is_over_backlog).then_some(now)) {
            return Some(key);
        }
        // the longer they wait, the more events share a write, and other streams don't wait for as many
        let may_wait = self.is_expiring && !is_over_backlog;
        while let Some(&(since, key)) = self.deferred.front() {
            if may_wait && now.saturating_duration_since(since) < LONGEST_PAUSE {
                break;
            }
            self.deferred.pop_front();
            if self.take_deferred(key, since) {
                return Some(key);
            }
        }
        None
    }

    /// A stream whose pause has ended by a time, or any that pauses.
    fn next_paused(&mut self, over: Option<Instant>) -> Option<u32> {
        loop {
            let (_, key) = match over {
                Some(now) => self.paused.pop(now)?,
                None => self.paused.pop_first()?,
            };
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.pause_timer = None;
            if stream.deferred_since.take().is_some() {
                return Some(key);
            }
        }
    }

    /// Starts all deferred and paused fan-outs now.
    pub fn flush_deferred(&mut self) {
        self.is_expiring = false;
        while let Some(key) = self.next_paused(None) {
            self.passes.push_back(key);
        }
        for (since, key) in std::mem::take(&mut self.deferred) {
            if self.take_deferred(key, since) {
                self.passes.push_back(key);
            }
        }
    }

    /// Ends a stream's deferral that began at a time; `false` if it became urgent, or is gone.
    fn take_deferred(&mut self, key: u32, since: Instant) -> bool {
        let stream = self.streams.get_mut(key);
        stream.is_some_and(|it| it.deferred_since.take_if(|at| *at == since).is_some())
    }

    /// Sends a message to all subscribers except those of one session.
    pub(super) fn broadcast(
        &mut self,
        index: u32,
        position: Position,
        message: ServerMessage,
        except: Option<SessionId>,
        now: Instant,
    ) {
        let stream = self.streams.live_mut(index);
        if let Some(session) = except {
            let Stream { groups, window, held, state, .. } = stream;
            for (key, group) in groups {
                let Some(subscriber) = group.get_mut(&session) else { continue };
                let mut messages = Stream::catch_up_except(window, held, subscriber, now);
                repeat_to(key, &mut messages, || {
                    state.presence().repeated(self.settings.max_answer)
                });
                if !messages.is_empty() {
                    self.reply_weight += weight(&messages);
                    self.replies.push_back(Delivery {
                        recipient: subscriber.recipient.clone(),
                        group: key.clone(),
                        messages,
                        reference: None,
                        joint: None,
                    });
                }
            }
        }
        self.backlog -= stream.window.weight();
        let pause = stream.paused_until.filter(|until| *until > now && message.is_event());
        let can_wait = pause.is_some() || message.can_wait();
        stream.push_message(position, message);
        self.backlog += stream.window.weight();
        let is_too_much = self.backlog > MAX_BACKLOG && !stream.held.is_empty();
        if stream.behind_since.is_none() && !stream.groups.is_empty() {
            stream.behind_since = Some(now);
            stream.want_pass();
            stream.deferred_since = can_wait.then_some(now);
            match pause {
                Some(until) => {
                    let paused = &mut self.paused;
                    stream.pause_timer.get_or_insert_with(|| paused.add(until, index));
                }
                None if can_wait => self.deferred.push_back((now, index)),
                None => self.passes.push_back(index),
            }
        } else if !can_wait && stream.deferred_since.take().is_some() {
            self.passes.push_back(index);
        }
        if is_too_much {
            self.release_all(index);
        }
    }
}
