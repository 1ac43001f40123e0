//! The dashboard's events, as JSON.

use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::node::{Attendance, Survey, Tally};
use crate::shard::{Attendee, StreamSize};
use crate::types::{MemberChange, PresenceChange, RawJson, StreamName};

#[derive(Serialize)]
struct Snapshot<'a> {
    /// In milliseconds of the Unix epoch, as everywhere here.
    at: u64,
    version: &'static str,
    /// In seconds.
    uptime: f64,
    connections: usize,
    totals: Totals,
    counts: Counts,
    streams: Vec<Stream<'a>>,
    chosen: Option<Chosen<'a>>,
}

#[derive(Serialize)]
struct Totals {
    streams: usize,
    subscriptions: usize,
    parked: usize,
    members: usize,
    records: usize,
}

/// Since the broker's start.
#[derive(Serialize)]
struct Counts {
    commands: u64,
    publications: u64,
    deliveries: u64,
    joins: u64,
    leaves: u64,
}

#[derive(Serialize)]
struct Stream<'a> {
    name: &'a str,
    members: usize,
    subscribers: usize,
}

#[derive(Serialize)]
struct Chosen<'a> {
    name: &'a str,
    total: usize,
    members: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    id: &'a str,
    info: Raw<'a>,
    /// In seconds.
    age: f64,
    devices: usize,
    /// Seconds until the member expires, if none of its records is connected.
    leaving: Option<f64>,
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Raw<'a>>,
    at: u64,
}

#[derive(Serialize)]
struct Missed {
    missed: u64,
    at: u64,
}

/// JSON as it was received.
struct Raw<'a>(&'a RawJson);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.0.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A snapshot, at a time since the Unix epoch and an uptime.
pub(super) fn snapshot(
    survey: &Survey,
    chosen: Option<(&StreamName, &Attendance)>,
    connections: usize,
    (at, uptime): (Duration, Duration),
) -> Bytes {
    let Survey { totals, tally, largest, observers: _ } = survey;
    let Tally { commands, publications, deliveries, joins, leaves } = *tally;
    let snapshot = Snapshot {
        at: milliseconds(at),
        version: env!("CARGO_PKG_VERSION"),
        uptime: uptime.as_secs_f64(),
        connections,
        totals: Totals {
            streams: totals.streams,
            subscriptions: totals.subscriptions,
            parked: totals.parked,
            members: totals.members,
            records: totals.records,
        },
        counts: Counts { commands, publications, deliveries, joins, leaves },
        streams: largest.iter().map(stream).collect(),
        chosen: chosen.map(|(name, attendance)| Chosen {
            name: name.as_str(),
            total: attendance.total,
            members: attendance.first.iter().map(member).collect(),
        }),
    };
    write("snapshot", &snapshot)
}

fn stream(size: &StreamSize) -> Stream<'_> {
    let StreamSize { name, members, subscribers } = size;
    Stream { name: name.as_str(), members: *members, subscribers: *subscribers }
}

fn member(attendee: &Attendee) -> Member<'_> {
    Member {
        id: attendee.id.as_str(),
        info: Raw(&attendee.info),
        age: attendee.age.as_secs_f64(),
        devices: attendee.records,
        leaving: attendee.leaves_in.map(|left| left.as_secs_f64()),
    }
}

/// A member event.
pub(super) fn event(change: &PresenceChange, at: Duration) -> Bytes {
    let name = match change.member {
        MemberChange::Joined { .. } => "join",
        MemberChange::Updated { .. } | MemberChange::Unchanged => "update",
        MemberChange::Left => "leave",
    };
    let info = change.member.info().map(Raw);
    write(name, &Event { id: change.id.as_str(), info, at: milliseconds(at) })
}

/// A count of events that were left out.
pub(super) fn missed(missed: u64, at: Duration) -> Bytes {
    write("missed", &Missed { missed, at: milliseconds(at) })
}

fn milliseconds(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

fn write(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    // JSON from clients can contain line breaks between its parts, which would end the event's line
    let data = data.replace(['\n', '\r'], " ");
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Totals;
    use crate::types::{LeaveCause, RecordChange};

    fn read(event: &Bytes) -> (String, serde_json::Value) {
        let text = std::str::from_utf8(event).unwrap();
        let lines: Vec<_> = text.split('\n').collect();
        let [name, data, "", ""] = lines[..] else { panic!("{text:?}") };
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    }

    #[test]
    fn a_snapshot_is_one_event_whatever_infos_look_like() {
        let survey = Survey {
            totals: Totals { streams: 1, members: 3, ..Totals::default() },
            tally: Tally { joins: 7, ..Tally::default() },
            largest: vec![StreamSize { name: "a\nb".into(), members: 3, subscribers: 2 }],
            observers: 1,
        };
        let attendee = |id: &str, info: &str, leaves_in| Attendee {
            id: id.into(),
            info: info.into(),
            age: Duration::from_millis(1500),
            records: 2,
            leaves_in,
        };
        let soon = Some(Duration::from_millis(250));
        let first = vec![
            attendee("ann\r\n", "{\"a\":\r\n9007199254740993}", None),
            attendee("bob", "null", soon),
        ];
        let attendance = Attendance { total: 3, first };
        let chosen = Some((&survey.largest[0].name, &attendance));
        let times = (Duration::from_millis(5), Duration::from_secs(9));
        let event = snapshot(&survey, chosen, 4, times);
        assert!(event.windows(16).any(|part| part == b"9007199254740993"));
        let (name, data) = read(&event);
        assert_eq!(name, "snapshot");
        assert_eq!((&data["connections"], &data["at"]), (&4.into(), &5.into()));
        assert_eq!(data["counts"]["joins"], 7);
        assert_eq!(data["streams"][0]["name"], "a\nb");
        let members = &data["chosen"]["members"];
        assert_eq!(members[0]["id"], "ann\r\n");
        assert_eq!((&members[0]["age"], &members[0]["devices"]), (&1.5.into(), &2.into()));
        assert!(members[0]["leaving"].is_null());
        assert_eq!(members[1]["leaving"], 0.25);
        assert_eq!(data["chosen"]["total"], 3);
    }

    #[test]
    fn what_happens_is_told_by_its_name() {
        let change = |member| PresenceChange {
            id: "ann".into(),
            reference: 1,
            record: RecordChange::Removed { info: "1".into(), cause: LeaveCause::Left },
            member,
            extra: None,
            members: None,
        };
        let at = Duration::from_secs(1);
        let told = |member| read(&event(&change(member), at));
        let (name, data) = told(MemberChange::Joined { info: "{\"b\":1}".into() });
        assert_eq!((name.as_str(), &data["info"]["b"]), ("join", &1.into()));
        let (name, data) = told(MemberChange::Left);
        assert_eq!((name.as_str(), data.get("info")), ("leave", None));
        assert_eq!(told(MemberChange::Updated { info: "2".into() }).0, "update");
        assert_eq!(read(&missed(12, at)).1["missed"], 12);
    }
}
