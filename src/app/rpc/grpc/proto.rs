//! The messages of `rpc.proto`, which a test compares with them.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Env {
    #[prost(string, tag = "1")]
    pub(super) url: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) headers: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) cstate: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) istate: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnvResponse {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(super) cstate: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) istate: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConnectionRequest {
    #[prost(message, optional, tag = "3")]
    pub(super) env: Option<Env>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConnectionResponse {
    #[prost(enumeration = "Status", tag = "1")]
    pub(super) status: i32,
    #[prost(string, tag = "2")]
    pub(super) identifiers: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) transmissions: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) error_msg: String,
    #[prost(message, optional, tag = "5")]
    pub(super) env: Option<EnvResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CommandMessage {
    #[prost(string, tag = "1")]
    pub(super) command: String,
    #[prost(string, tag = "2")]
    pub(super) identifier: String,
    #[prost(string, tag = "3")]
    pub(super) connection_identifiers: String,
    #[prost(string, tag = "4")]
    pub(super) data: String,
    #[prost(message, optional, tag = "5")]
    pub(super) env: Option<Env>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CommandResponse {
    #[prost(enumeration = "Status", tag = "1")]
    pub(super) status: i32,
    #[prost(bool, tag = "2")]
    pub(super) disconnect: bool,
    #[prost(bool, tag = "3")]
    pub(super) stop_streams: bool,
    #[prost(string, repeated, tag = "4")]
    pub(super) streams: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(super) transmissions: Vec<String>,
    #[prost(string, tag = "6")]
    pub(super) error_msg: String,
    #[prost(message, optional, tag = "7")]
    pub(super) env: Option<EnvResponse>,
    #[prost(string, repeated, tag = "8")]
    pub(super) stopped_streams: Vec<String>,
    #[prost(message, optional, tag = "9")]
    pub(super) presence: Option<PresenceResponse>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct PresenceResponse {
    #[prost(string, tag = "1")]
    pub(super) r#type: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
    #[prost(string, tag = "3")]
    pub(super) info: String,
    #[prost(uint32, tag = "4")]
    pub(super) ttl: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DisconnectRequest {
    #[prost(string, tag = "1")]
    pub(super) identifiers: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) subscriptions: Vec<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) env: Option<Env>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct DisconnectResponse {
    #[prost(enumeration = "Status", tag = "1")]
    pub(super) status: i32,
    #[prost(string, tag = "2")]
    pub(super) error_msg: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Status {
    Error = 0,
    Success = 1,
    Failure = 2,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// `(message, type, field, number)`; a map's type is `map`, a message's `message`, an enum's `enumeration`.
    type Fields = BTreeSet<(String, String, String, String)>;

    /// The fields that the contract has.
    fn of_contract() -> Fields {
        let (mut fields, mut within) = (Fields::new(), String::new());
        for line in include_str!("../rpc.proto").lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("message ").or(line.strip_prefix("enum ")) {
                within = name.trim_end_matches(" {").to_owned();
            }
            let Some((left, number)) = line.split_once(" = ") else { continue };
            let (kind, name) = left.rsplit_once(' ').unwrap_or(("value", left));
            let kind = match kind.strip_prefix("repeated ").unwrap_or(kind) {
                "Status" => "enumeration",
                kind if kind.starts_with("map<") => "map",
                kind if kind.starts_with(char::is_uppercase) => "message",
                kind => kind,
            };
            let kind = if left.starts_with("repeated ") {
                format!("{kind} repeated")
            } else {
                kind.into()
            };
            let number = number.trim_end_matches(';').to_owned();
            if !within.is_empty() && !line.starts_with("syntax") {
                fields.insert((within.clone(), kind, name.to_owned(), number));
            }
        }
        fields
    }

    /// The fields that this file has.
    fn of_code() -> Fields {
        let code = include_str!("proto.rs").split("mod tests").next().unwrap();
        let (mut fields, mut within, mut next) = (Fields::new(), String::new(), None);
        for line in code.lines().map(str::trim) {
            let word = |text: &str| {
                text.trim_start_matches("r#").split([' ', ':', ',']).next().unwrap().to_owned()
            };
            if let Some(rest) =
                line.strip_prefix("pub(super) struct ").or(line.strip_prefix("pub(super) enum "))
            {
                within = word(rest);
            } else if let Some(rest) = line.strip_prefix("#[prost(") {
                let number =
                    rest.split("tag = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
                let kind = rest.split([',', ' ']).next().unwrap();
                let kind = if kind == "btree_map" { "map" } else { kind };
                let repeated = if rest.contains(" repeated,") { " repeated" } else { "" };
                next = Some((format!("{kind}{repeated}"), number));
            } else if let Some(name) = line.strip_prefix("pub(super) ") {
                let (kind, number) = next.take().unwrap();
                fields.insert((within.clone(), kind, word(name), number));
            } else if let Some((name, number)) = line.split_once(" = ") {
                let number = number.trim_end_matches(',').to_owned();
                fields.insert((within.clone(), "value".to_owned(), name.to_uppercase(), number));
            }
        }
        fields
    }

    #[test]
    fn the_messages_are_those_of_the_contract() {
        let (contract, code) = (of_contract(), of_code());
        assert!(contract.len() > 35, "{contract:#?}");
        let field = |it: [&str; 4]| {
            let [a, b, c, d] = it.map(str::to_owned);
            (a, b, c, d)
        };
        for known in [
            ["Env", "map", "istate", "4"],
            ["CommandResponse", "string repeated", "stopped_streams", "8"],
            ["CommandResponse", "message", "presence", "9"],
            ["DisconnectRequest", "message", "env", "5"],
            ["Status", "value", "FAILURE", "2"],
        ] {
            assert!(contract.contains(&field(known)), "{known:?}");
        }
        assert_eq!(contract, code);
    }
}
