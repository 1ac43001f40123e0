//! A page with Phoenix's client: what it asked, and its list of members.

use std::collections::BTreeMap;

use broker::protocol::websocket::frame_boundary;
use broker::session::Session;
use serde_json::Value;

use super::topic;
use crate::presence::Presence;

/// A connection of a page, and its client's state.
pub(super) struct Page {
    pub(super) session: Session,
    pub(super) user: Option<&'static str>,
    pub(super) refs: usize,
    /// Requests by their ref, with the expected status of the reply.
    pub(super) asked: BTreeMap<String, &'static str>,
    pub(super) answers: BTreeMap<String, Vec<String>>,
    /// Reference of the current join; `earlier` has those before.
    pub(super) join_ref: Option<String>,
    pub(super) earlier: Vec<String>,
    pub(super) is_counting: bool,
    pub(super) total: Option<u64>,
    pub(super) presence: Presence,
    /// Number of others' shouts it must have got while it was in the topic, and that it has got.
    pub(super) shouts: (usize, usize),
}

impl Page {
    pub(super) fn is_in(&self) -> bool {
        self.join_ref.is_some()
    }

    pub(super) fn receive(&mut self, mut frames: &[u8]) {
        let mut last = String::new();
        while !frames.is_empty() {
            let whole = frame_boundary(frames, 1);
            let (frame, rest) = frames.split_at(whole);
            frames = rest;
            let header = if frame[1] == 126 { 4 } else { 2 };
            let frame: Value = serde_json::from_slice(&frame[header..]).unwrap();
            let event = frame[3].as_str().unwrap().to_owned();
            assert!(
                (&*event, &*last) != ("presence_diff", "presence_diff"),
                "what happened at once is one diff"
            );
            self.take(&frame);
            last = event;
        }
    }

    /// `socket.js`, `onConnMessage`, and `channel.js`, `isMember`.
    fn take(&mut self, frame: &Value) {
        let [join_ref, reference, about, event, payload] = &frame.as_array().unwrap()[..] else {
            panic!("{frame}");
        };
        assert!(payload.is_object() || event == "message", "{frame}");
        let (join_ref, event) = (join_ref.as_str(), event.as_str().unwrap());
        if event == "phx_reply" {
            let status = payload["status"].as_str().unwrap().to_owned();
            let reference = reference.as_str().unwrap().to_owned();
            self.answers.entry(reference).or_default().push(status);
            return;
        }
        assert_eq!(*about, topic().as_str());
        if !self.is_in() || join_ref.is_some() && join_ref != self.join_ref.as_deref() {
            return; // there is no such channel, or this is outdated
        }
        match event {
            "presence_state" => {
                assert!(!self.is_counting && join_ref.is_some(), "{frame}");
                self.presence.take_state(payload, self.join_ref.clone());
            }
            "presence_diff" if self.presence.join_ref == self.join_ref => {
                self.presence.sync_diff(payload, true);
            }
            "presence_diff" if self.is_counting => {} // from before, when it didn't
            "presence_diff" => self.presence.pending.push(payload.clone()),
            "occupancy" => self.total = payload["total"].as_u64(),
            "shout" => self.shouts.1 += 1,
            "message" => assert_eq!(*payload, 1),
            _ => panic!("{frame}"), // no page's channel is closed that it didn't leave
        }
    }
}
