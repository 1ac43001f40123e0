//! The view of a stream that events give a client. It must be a reading of the one order: a list is the members at a
//! place of it, and the events that follow are those behind that place, all of them.

use std::collections::BTreeSet;

use broker::types::{
    MemberChange, MemberList, PresenceChange, Publication, ServerMessage, StreamPosition,
};

use crate::order::Order;
use crate::replay::{apply, replay};
use crate::world::{STREAMS, World};

/// What a client knows of a stream.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The members, once it has asked, or was resumed.
    pub(crate) list: Option<MemberList>,
    /// Where it may be in the order of the events: a stream may have been the same before.
    places: BTreeSet<usize>,
    /// It has been resumed when so many batches had been read, and is told what it missed.
    resumed: Option<usize>,
    /// Since a resume it may have heard something twice, so that its list has another order.
    is_unordered: bool,
    /// The last publication that it was told live.
    last: Option<StreamPosition>,
    /// The offset of the first one, of those without a gap.
    first: u64,
    /// What it asked of the history.
    pub(crate) asked: Option<Asked>,
    /// How many events had happened when it was last told the number of members.
    counted: usize,
    /// That number.
    pub(crate) number: Option<usize>,
}

/// A question for all publications behind one.
#[derive(Debug)]
pub(crate) struct Asked {
    after: StreamPosition,
    /// What it was told since, live or as a part of the answer, which comes last.
    told: Vec<StreamPosition>,
}

impl View {
    pub(crate) fn ask(&mut self, after: Option<StreamPosition>) {
        self.asked = after.map(|after| Asked { after, told: Vec::new() });
    }

    /// Its connection has ended.
    pub(crate) fn suspend(&mut self) {
        (self.last, self.asked) = (None, None);
        self.places.clear();
    }

    /// It is resumed. What it missed comes next.
    pub(crate) fn resume(&mut self, read: usize) {
        (self.resumed, self.is_unordered) = (Some(read), true);
    }

    /// Its list is that of a place in the order, which is behind a batch, or within the last one.
    fn find(&mut self, order: &Order, of: usize, read: usize) {
        let Some(list) = &self.list else { return };
        let end = order.events_before(of, read);
        let places = order.events_before(of, read.saturating_sub(1))..=end;
        let is_so = |place: &usize| {
            let then = order.list(of, *place);
            if self.is_unordered { sorted(then) == sorted(list) } else { then == list }
        };
        self.places = places.filter(is_so).collect();
        assert!(!self.places.is_empty(), "{list:?} was never so: {:?}", order.list(of, end));
    }

    /// It has been told all that its node has for it now.
    pub(crate) fn rest(&mut self, order: &Order, of: usize, read: usize) {
        if self.resumed.take().is_some() {
            self.find(order, of, read);
        }
    }

    /// It has been told all that its node has read.
    pub(crate) fn check(&self, order: &Order, of: usize, read: usize) {
        let end = order.events_before(of, read);
        assert!(self.list.is_none() || self.places.contains(&end), "{end}: {self:?}");
        let is_so = self.number.is_none_or(|number| number == order.list(of, end).len());
        assert!(is_so, "{} members: {self:?}", order.list(of, end).len());
    }

    fn hear(&mut self, change: &PresenceChange, order: &Order, (of, read): (usize, usize)) {
        self.rest(order, of, read.min(self.resumed.unwrap_or(read)));
        let Some(list) = &mut self.list else { return };
        replay(list, change);
        if change.member == MemberChange::Unchanged {
            return;
        }
        let places = std::mem::take(&mut self.places);
        let events = &order.events[of];
        let is_next = |place: &usize| {
            let event = events.get(*place);
            event.is_some_and(|event| event.is(&change.id, &change.member, &change.extra))
        };
        self.places = places.iter().filter(|it| is_next(it)).map(|place| place + 1).collect();
        let next: Vec<_> = places.iter().map(|place| events.get(*place)).collect();
        assert!(!self.places.is_empty(), "{change:?} isn't the next event, but one of {next:?}");
        let is_applied = self.places.iter().all(|place| *place <= order.events_before(of, read));
        assert!(is_applied, "{change:?} isn't applied yet");
    }

    fn hear_list(&mut self, list: MemberList, order: &Order, (of, read): (usize, usize)) {
        self.rest(order, of, read.min(self.resumed.unwrap_or(read)));
        if let Some(view) = &self.list {
            let is_so = if std::mem::take(&mut self.is_unordered) {
                sorted(view) == sorted(&list)
            } else {
                *view == list
            };
            assert!(is_so, "{view:?} {list:?}");
        }
        let (known, places) = (self.list.is_some(), std::mem::take(&mut self.places));
        self.list = Some(list);
        if known {
            self.places = places;
        } else {
            self.is_unordered = false;
            self.find(order, of, read);
        }
    }

    fn hear_publication(&mut self, position: StreamPosition) {
        match &mut self.asked {
            Some(asked) => asked.told.push(position),
            None => self.hear_live(position),
        }
    }

    fn hear_live(&mut self, position: StreamPosition) {
        if let Some(last) = &self.last {
            let is_same = last.epoch == position.epoch;
            let next = if is_same { last.offset.0 + 1 } else { 1 };
            assert_eq!(position.offset.0, next, "{position:?} isn't behind {last:?}");
        }
        if self.last.as_ref().is_none_or(|last| last.epoch != position.epoch) {
            self.first = position.offset.0;
        }
        self.last = Some(position);
    }

    /// It is told that it has all behind what it asked for, now or live; or that it hasn't.
    fn hear_history(&mut self, is_confirmed: bool) {
        let Some(Asked { after, mut told }) = self.asked.take() else { return };
        let answers = |answer: &[StreamPosition]| {
            let mut behind = answer.iter().zip(after.offset.0 + 1..);
            behind.all(|(it, offset)| (&it.epoch, it.offset.0) == (&after.epoch, offset))
        };
        // it can't be seen where the answer begins: where it ends no later than what was told live, if anywhere
        let fits = |live: &usize| {
            let (before, answer) = told.split_at(*live);
            let end = answer.last().unwrap_or(&after);
            let last = before.last().or(self.last.as_ref());
            answers(answer) && last.is_none_or(|last| last.offset >= end.offset)
        };
        let mut places = 0..=told.len();
        let live = if is_confirmed {
            let first = places.clone().find(|live| answers(&told[*live..]));
            places.find(fits).or(first).unwrap()
        } else {
            told.len()
        };
        let answer = told.split_off(live);
        let what = format!("{told:?} and {answer:?} behind {after:?}: {self:?}");
        for position in told {
            self.hear_live(position);
        }
        if !is_confirmed {
            return;
        }
        let end = answer.last().unwrap_or(&after);
        if let Some(last) = &self.last {
            assert_eq!(last.epoch, after.epoch, "it has begun again: {what}");
            let is_all = last.offset == end.offset || self.first <= end.offset.0 + 1;
            assert!(is_all && last.offset >= end.offset, "{what}");
        } else {
            self.first = end.offset.0 + 1;
            self.last = Some(end.clone());
        }
    }

    /// It is told a number of members: that of a place in the order, not before the last one.
    fn hear_number(&mut self, number: usize, order: &Order, (of, read): (usize, usize)) {
        let mut places = self.counted..=order.events_before(of, read);
        let place = places.find(|place| order.list(of, *place).len() == number);
        self.counted = place.unwrap_or_else(|| panic!("there were never {number} in {of}"));
        self.number = Some(number);
    }
}

impl World {
    pub(crate) fn told(&mut self, recipient: usize, message: ServerMessage) {
        let (number, of) = (recipient / STREAMS, recipient % STREAMS);
        let client = self.clients.iter_mut().find(|client| client.number == number);
        let Some(client) = client else { return };
        let read = self.nodes[client.node].read;
        if message == ServerMessage::Confirmed {
            client.awaited[of] -= 1;
            client.outdated[of] = client.outdated[of].saturating_sub(1);
        }
        if !client.is_subscribed[of] || client.outdated[of] > 0 {
            return;
        }
        let is_sent = match message {
            ServerMessage::Presence(_)
            | ServerMessage::Missed { .. }
            | ServerMessage::PresenceList(_) => !client.counts,
            ServerMessage::Occupancy(_) => client.counts,
            _ => true,
        };
        if !is_sent {
            return;
        }
        let (view, order) = (&mut client.views[of], &mut self.order);
        match message {
            ServerMessage::Confirmed => {
                view.counted = view.counted.max(order.events_before(of, read.saturating_sub(1)));
            }
            ServerMessage::Presence(change) => view.hear(&change, order, (of, read)),
            ServerMessage::Missed { id, change, extra } => {
                assert!(view.resumed.is_some(), "{id:?} isn't news");
                if let Some(list) = &mut view.list {
                    apply(list, &id, (&change, &extra), false);
                }
            }
            ServerMessage::PresenceList(list) => view.hear_list(list.to_vec(), order, (of, read)),
            ServerMessage::Occupancy(number) => view.hear_number(number, order, (of, read)),
            ServerMessage::Publication(publication) => {
                let Publication { data, position, .. } = &*publication;
                assert!(order.is_published(data.as_str(), read), "{data:?} isn't in the log");
                order.show(of, &publication);
                let position = position.clone().unwrap(); // all are kept
                if !client.known[of].contains(&position) {
                    client.known[of].push(position.clone());
                }
                view.hear_publication(position);
            }
            ServerMessage::HistoryConfirmed => {
                self.seen.histories += 1;
                view.hear_history(true);
            }
            ServerMessage::HistoryRejected => view.hear_history(false),
            _ => {}
        }
    }
}

fn sorted(list: &[broker::types::Member]) -> MemberList {
    let mut list = list.to_vec();
    list.sort_by(|a, b| a.id.cmp(&b.id));
    list
}
