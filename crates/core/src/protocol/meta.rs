//! One record of a member as a Phoenix meta: the keys of its info, and its reference.
//!
//! `phx_ref` is the record's reference, `phx_ref_prev` the one before an update; a client replaces the meta
//! of the latter by the new one. Keys of these names in an info are left out.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::write::{append, data, string};
use crate::types::{Extra, MemberRecords, RawJson};

/// The record's reference.
const REFERENCE: &str = "phx_ref";

/// The record's reference before an update.
const PREVIOUS: &str = "phx_ref_prev";

/// Appends a list of members with their records.
pub fn write_list(out: &mut Vec<u8>, members: &[MemberRecords]) {
    append(out, format_args!("{{\"type\":\"info\",\"total\":{},\"records\":[", members.len()));
    for (number, member) in members.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        write_member(out, member);
    }
    out.extend_from_slice(b"]}");
}

/// Appends a member with its records.
pub fn write_member(out: &mut Vec<u8>, member: &MemberRecords) {
    out.extend_from_slice(b"{\"id\":");
    string(out, member.id.as_str());
    let shown = member.records.last().map_or("null", |record| record.info.as_str());
    append(out, format_args!(",\"info\":{shown},\"metas\":["));
    for (number, record) in member.records.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        write(out, &record.info, record.reference, None);
    }
    out.push(b']');
    data(out, &member.extra);
    out.push(b'}');
}

/// Appends the application's data beside a member's `metas`: each key with a comma before it, except one of
/// that name.
pub(crate) fn write_extra(out: &mut Vec<u8>, extra: &Extra) {
    let Some(extra) = extra else { return };
    let Ok(Entries(entries)) = serde_json::from_str(extra.as_str()) else { return };
    for (key, value) in entries.iter().filter(|(key, _)| key != "metas") {
        out.push(b',');
        string(out, key);
        append(out, format_args!(":{value}"));
    }
}

/// Appends a record with its info, its reference, and the reference before an update, if it was one.
pub fn write(out: &mut Vec<u8>, info: &RawJson, reference: u64, previous: Option<u64>) {
    out.push(b'{');
    let start = out.len();
    own_keys(out, info.as_str());
    if out.len() > start {
        out.push(b',');
    }
    append(out, format_args!("\"{REFERENCE}\":\"{reference:x}\""));
    if let Some(previous) = previous {
        append(out, format_args!(",\"{PREVIOUS}\":\"{previous:x}\""));
    }
    out.push(b'}');
}

/// Appends the keys and values of an info.
fn own_keys(out: &mut Vec<u8>, info: &str) {
    let info = info.trim_ascii();
    let Some(inside) = info.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if info != "null" {
            append(out, format_args!("\"info\":{info}"));
        }
        return;
    };
    // an escape could spell anything
    let may_clash = info.contains(REFERENCE) || info.contains('\\');
    let entries = may_clash.then(|| serde_json::from_str::<Entries<'_>>(info).ok()).flatten();
    let Some(Entries(entries)) = entries else {
        out.extend_from_slice(inside.trim_ascii().as_bytes());
        return;
    };
    let own = entries.iter().filter(|(key, _)| key != REFERENCE && key != PREVIOUS);
    for (number, (key, value)) in own.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        string(out, key);
        append(out, format_args!(":{value}"));
    }
}

/// An object's keys and values, in order and in their original bytes.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(info: &str, reference: u64, previous: Option<u64>) -> String {
        let mut out = Vec::new();
        write(&mut out, &info.into(), reference, previous);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_object_is_extended_and_others_stand_beside() {
        let cases = [
            ("null", r#"{"phx_ref":"1f"}"#),
            ("{}", r#"{"phx_ref":"1f"}"#),
            (" { } ", r#"{"phx_ref":"1f"}"#),
            (r#"{ "n":9007199254740993 }"#, r#"{"n":9007199254740993,"phx_ref":"1f"}"#),
            (r#"{"a":{"b":[]},"c":"}"}"#, r#"{"a":{"b":[]},"c":"}","phx_ref":"1f"}"#),
            ("[1]", r#"{"info":[1],"phx_ref":"1f"}"#),
            (r#""ann""#, r#"{"info":"ann","phx_ref":"1f"}"#),
            ("false", r#"{"info":false,"phx_ref":"1f"}"#),
        ];
        for (info, expected) in cases {
            assert_eq!(meta(info, 0x1f, None), expected);
        }
        assert_eq!(meta("{}", 2, Some(1)), r#"{"phx_ref":"2","phx_ref_prev":"1"}"#);
    }

    #[test]
    fn the_references_are_not_the_clients_to_say() {
        let cases = [
            (r#"{"phx_ref":"x"}"#, r#"{"phx_ref":"1"}"#),
            (r#"{"a":"\"","phx_ref_prev":"x","b": 1.50}"#, r#"{"a":"\"","b":1.50,"phx_ref":"1"}"#),
            (r#"{"phx\u005fref":"x","a":"phx_ref"}"#, r#"{"a":"phx_ref","phx_ref":"1"}"#),
        ];
        for (info, expected) in cases {
            assert_eq!(meta(info, 1, None), expected);
        }
    }
}
