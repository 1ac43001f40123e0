//! The body of a publication.
//!
//! The decoded publication equals a second parser's, and can be encoded for a subscriber.

use std::sync::Arc;

use broker::http::publish::{Disconnect, Element, decode};
use broker::protocol::action_cable;
use broker::protocol::encode;
use broker::types::{
    GroupKey, Identifier, Labels, PresenceId, Publication, RawJson, ServerMessage, StreamName,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::action_cable::payload;

const LONGEST_NAME: usize = 40;

pub fn run(data: &[u8]) {
    let elements = match decode(data, LONGEST_NAME) {
        Ok(elements) => elements,
        Err(reason) => return assert!(!reason.is_empty()),
    };
    let json: Option<Value> = serde_json::from_slice(data).ok(); // deep nesting is no fault
    let json = json.map(|json| json.as_array().cloned().unwrap_or_else(|| vec![json.clone()]));
    if let Some(json) = &json {
        assert_eq!(json.len(), elements.len());
    }
    for (number, element) in elements.iter().enumerate() {
        let json = json.as_ref().map(|all| &all[number]);
        match element {
            Element::Publish { stream, data, labels, except, is_transient } => {
                check_told(stream, data, labels);
                let Some(json) = json else { continue };
                assert_eq!(json["stream"], stream.as_str());
                check_payload(json["data"].as_str().expect("a string"), data);
                let label = labels.as_deref().cloned().unwrap_or_default();
                if let Some(event) = label.event {
                    assert_eq!(json["meta"]["event"], &*event);
                }
                if let Some(frame_type) = label.frame_type {
                    assert_eq!(json["meta"]["broadcast_type"], &*frame_type);
                }
                assert_eq!(json["meta"]["transient"].as_bool().unwrap_or(false), *is_transient);
                if let Some(except) = except {
                    assert_eq!(json["meta"]["exclude_socket"], except.to_string());
                }
            }
            Element::Disconnect(Disconnect { identifier, presence_id, reconnect }) => {
                let Some(json) = json else { continue };
                assert_eq!(json["command"], "disconnect");
                assert_eq!(json["payload"]["identifier"].as_str(), identifier.as_deref());
                let presence_id = presence_id.as_ref().map(PresenceId::as_str);
                assert_eq!(json["payload"]["presence_id"].as_str(), presence_id);
                assert!(identifier.is_some() || presence_id.is_some());
                assert_eq!(json["payload"]["reconnect"].as_bool().unwrap_or(false), *reconnect);
            }
        }
    }
    if data.trim_ascii_start().first() == Some(&b'{') {
        let among_others = [b"[", data, b"]"].concat();
        assert_eq!(decode(&among_others, LONGEST_NAME), Ok(elements));
    }
}

/// JSON passes as it is, and other text as a JSON string.
fn check_payload(given: &str, data: &RawJson) {
    if serde_json::from_str::<&RawValue>(given).is_ok() {
        assert_eq!(data.as_str(), given);
    } else {
        assert_eq!(serde_json::from_str::<String>(data.as_str()).expect("a string"), given);
    }
}

fn check_told(stream: &StreamName, data: &RawJson, labels: &Labels) {
    assert!((1..=LONGEST_NAME).contains(&stream.as_str().len()));
    let publication = Publication {
        stream: stream.clone(),
        data: data.clone(),
        labels: labels.clone(),
        at: 0,
        position: None,
    };
    let mut frame = Vec::new();
    let message = ServerMessage::Publication(Arc::new(publication));
    let group = GroupKey::new(action_cable::CODEC, Identifier::from("\"x\""));
    encode(&group, &message, None, &mut frame);
    assert!(serde_json::from_str::<&RawValue>(payload(&frame)).is_ok());
}
