//! Forgetting the streams of a shared log. A node doesn't know the subscribers of the others, nor which
//! publications they have yet to drop, so it asks:
//!
//! ```text
//! idle here for a while ─▶ Idle ─┬─ nobody objects ─▶ ForgottenByAll
//!                                └─ in use elsewhere ─▶ Used: that node says Idle when it is its turn
//! ```
//!
//! A stream that is forgotten although a node uses it, because its objection came too late, is only unkind: clients
//! are told that publications are missing.

use std::time::Duration;

use super::Shard;
use crate::log::Change;
use crate::shard::delivery::Destination;
use crate::shard::proposals::Plan;
use crate::shard::shared::PATIENCE;
use crate::shard::stream::Idling;
use crate::shard::timers::Timer;
use crate::stream::Usage;
use crate::stream::pages::is_roomy;

/// Time for which a stream is idle before a node says so. Streams that come and go don't cost two entries
/// each time.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Time for other nodes to object: some batches there and back.
const OBJECTION_TIME: Duration = Duration::from_secs(2);

impl<R: Destination> Shard<R> {
    /// Notes that an entry was applied; `before` is the stream's use before it. Whoever has said that a stream is
    /// idle has the first word in forgetting it.
    pub(super) fn note_use(&mut self, index: u32, before: Usage, is_own_word: bool) {
        let Some(stream) = self.streams.get(index) else { return };
        let usage = stream.state.usage();
        let is_news = usage != before;
        if is_news || is_own_word {
            self.drop_plan(index);
        }
        if is_news && is_own_word && matches!(usage, Usage::Idle(_)) {
            self.plan(index, OBJECTION_TIME);
        }
        self.review_use(index);
    }

    /// Plans what this node is to say of a stream's use, if anything.
    pub(super) fn review_use(&mut self, index: u32) {
        let (Some(shared), Some(stream)) = (&self.shared, self.streams.get(index)) else { return };
        let wait = match (stream.state.usage(), stream.is_idle()) {
            (Usage::Idle(_), false) if stream.is_in_use(self.now) => return self.object(index),
            (Usage::Idle(_), true) => OBJECTION_TIME + PATIENCE + shared.delay,
            (Usage::Unknown, true) if stream.state.has_begun() => IDLE_TIME + shared.delay,
            (Usage::By(node), true) if node == shared.node => IDLE_TIME,
            (Usage::Unknown | Usage::By(_), _) | (Usage::Idle(_), false) => {
                return self.wait_no_longer(index);
            }
        };
        self.plan(index, wait);
    }

    /// Says of a stream that it is idle, or forgotten, if it has been so for long enough.
    pub(super) fn idle_for_long(&mut self, index: u32) {
        let Some(stream) = self.streams.get(index) else { return };
        let until = self.ticks.began(stream.idling.until);
        if until > self.now
            && let Some(Plan::Waits(timer)) =
                self.shared.as_mut().and_then(|shared| shared.plans.get_mut(&index))
        {
            *timer = self.timers.add(until, Timer::Idle { stream: index }); // it was used in between
            return;
        }
        self.drop_plan(index);
        let (Some(shared), Some(stream)) = (&self.shared, self.streams.get(index)) else { return };
        if !stream.is_idle() {
            return;
        }
        let change = match (stream.state.usage(), stream.state.epoch().cloned()) {
            (Usage::Idle(idle), _) => Change::ForgottenByAll { idle, lost: stream.history.lost() },
            (Usage::By(node), _) if node != shared.node => return,
            (Usage::Unknown | Usage::By(_), Some(epoch)) => {
                Change::Idle { epoch, head: stream.state.head() }
            }
            (Usage::Unknown | Usage::By(_), None) => return,
        };
        self.say(index, change);
    }

    fn object(&mut self, index: u32) {
        let Some(shared) = &self.shared else { return };
        if !matches!(shared.plans.get(&index), Some(Plan::Proposed)) {
            let by = Some(shared.node);
            self.drop_plan(index);
            self.say(index, Change::Used { by });
        }
    }

    fn say(&mut self, index: u32, change: Change) {
        let Some(shared) = &mut self.shared else { return };
        shared.plans.insert(index, Plan::Proposed);
        shared.propose_alone(self.streams.live(index).name.clone(), change, self.now);
    }

    /// Streams come and go much more often than a timer rings, so one that is set stays, and is asked when it rings.
    fn plan(&mut self, index: u32, wait: Duration) {
        let (Some(shared), Some(stream)) = (&mut self.shared, self.streams.get_mut(index)) else {
            return;
        };
        let idling = &mut stream.idling;
        if idling.until > 0 {
            return;
        }
        let due = self.now + wait;
        idling.until = self.ticks.at(due);
        if idling.has_timer {
            return;
        }
        shared.plans.entry(index).or_insert_with(|| {
            idling.has_timer = true;
            Plan::Waits(self.timers.add(due, Timer::Idle { stream: index }))
        });
    }

    fn wait_no_longer(&mut self, index: u32) {
        if let Some(stream) = self.streams.get_mut(index) {
            stream.idling.until = 0;
        }
    }

    pub(super) fn drop_plan(&mut self, index: u32) {
        let Some(shared) = &mut self.shared else { return };
        if let Some(stream) = self.streams.get_mut(index) {
            stream.idling = Idling::default();
        }
        if let Some(Plan::Waits(deadline)) = shared.plans.remove(&index) {
            self.timers.cancel(deadline);
        }
        if is_roomy(shared.plans.len(), shared.plans.capacity()) {
            shared.plans.shrink_to(2 * shared.plans.len());
        }
    }
}
