//! Action Cable's commands, as frames that can be sent as they are.

use anyhow::bail;
use serde_json::{Value, json};

use crate::clock;
use crate::frames;
use crate::received::{MEMBER, RUN, STAMP, STAMP_DIGITS};

/// Where the stream's name goes in an identifier.
const PLACE: &str = "{stream}";

/// Names streams of one run, so that what a run before left behind (history, members whose TTL still
/// runs) isn't met again.
#[derive(Clone, Debug)]
pub(crate) struct ActionCable {
    identifier: String,
    run: String,
}

impl ActionCable {
    /// `identifier` is a template, and has to be JSON.
    pub(crate) fn new(identifier: &str, run: &str) -> anyhow::Result<Self> {
        let named = identifier.replace(PLACE, "stream");
        match serde_json::from_str::<Value>(&named) {
            Ok(Value::Object(_)) if identifier.contains(PLACE) => {}
            Ok(Value::Object(_)) => {
                bail!("--identifier names no stream: write {PLACE} where the name belongs")
            }
            Ok(_) | Err(_) => bail!(
                "--identifier is not a JSON object: {identifier}\n\
                 Write one like {{\"channel\":\"BenchChannel\",\"stream\":\"{PLACE}\"}}"
            ),
        }
        Ok(Self { identifier: identifier.to_owned(), run: run.to_owned() })
    }

    /// The name of a stream.
    pub(crate) fn stream(&self, stream: u32) -> String {
        format!("{RUN}{}-{stream}", self.run)
    }

    /// Its identifier.
    pub(crate) fn identifier(&self, stream: u32) -> String {
        self.identifier.replace(PLACE, &self.stream(stream))
    }

    pub(crate) fn subscribe(&self, stream: u32) -> Vec<u8> {
        self.command("subscribe", stream, "")
    }

    pub(crate) fn join(&self, stream: u32, member: u32) -> Vec<u8> {
        let id = format!("{MEMBER}{member}");
        let presence = json!({"id": id, "info": {"name": format!("User {member}")}});
        self.command("join", stream, &format!(r#","presence":{presence}"#))
    }

    pub(crate) fn leave(&self, stream: u32) -> Vec<u8> {
        self.command("leave", stream, "")
    }

    pub(crate) fn list(&self, stream: u32) -> Vec<u8> {
        self.command("presence", stream, r#","data":{}"#)
    }

    fn command(&self, command: &str, stream: u32, more: &str) -> Vec<u8> {
        let identifier = Value::from(self.identifier(stream));
        frames::text(
            format!(r#"{{"command":"{command}","identifier":{identifier}{more}}}"#).as_bytes(),
        )
    }

    /// The body of a publication to `stream`: its data has `size` bytes, or as many as the time takes.
    pub(crate) fn publication(&self, stream: u32, size: usize) -> String {
        let frame = r#"{"at":"","pad":""}"#.len() + STAMP.len() + STAMP_DIGITS;
        let pad = "x".repeat(size.saturating_sub(frame));
        let at = clock::now();
        let data = format!(r#"{{"at":"{STAMP}{at:0STAMP_DIGITS$}","pad":"{pad}"}}"#);
        json!({"stream": self.stream(stream), "data": data}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cable() -> ActionCable {
        ActionCable::new(r#"{"channel":"$pubsub","stream_name":"{stream}"}"#, "r").unwrap()
    }

    fn payload(frame: &[u8]) -> Value {
        let start = frame.iter().position(|byte| *byte == b'{').unwrap();
        serde_json::from_slice(&frame[start..]).unwrap()
    }

    #[test]
    fn commands_are_those_of_action_cable() {
        let cable = cable();
        let identifier = r#"{"channel":"$pubsub","stream_name":"bench-r-3"}"#;
        assert_eq!(
            payload(&cable.subscribe(3)),
            json!({"command": "subscribe", "identifier": identifier})
        );
        assert_eq!(
            payload(&cable.join(3, 9)),
            json!({
                "command": "join",
                "identifier": identifier,
                "presence": {"id": "m-9", "info": {"name": "User 9"}},
            })
        );
        assert_eq!(payload(&cable.leave(3)), json!({"command": "leave", "identifier": identifier}));
        assert_eq!(
            payload(&cable.list(3)),
            json!({"command": "presence", "identifier": identifier, "data": {}})
        );
    }

    #[test]
    fn a_publication_has_its_size_and_the_time() {
        let body: Value = serde_json::from_str(&cable().publication(0, 100)).unwrap();
        assert_eq!(body["stream"], "bench-r-0");
        let data = body["data"].as_str().unwrap();
        assert_eq!(data.len(), 100);
        let data: Value = serde_json::from_str(data).unwrap();
        let at = data["at"].as_str().unwrap().strip_prefix(STAMP).unwrap();
        assert_eq!(at.len(), STAMP_DIGITS);
        assert!(at.parse::<u64>().unwrap() <= clock::now());
    }

    #[test]
    fn a_template_has_to_be_one() {
        let refusal = |template| ActionCable::new(template, "r").unwrap_err().to_string();
        assert!(refusal("chat").starts_with("--identifier is not a JSON object: chat"));
        assert!(refusal(r#"["{stream}"]"#).starts_with("--identifier is not a JSON object"));
        assert!(refusal(r#"{"channel":"X"}"#).starts_with("--identifier names no stream"));
    }
}
