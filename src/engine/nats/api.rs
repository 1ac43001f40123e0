//! JetStream's requests, as far as they are used.

use std::time::{Duration, UNIX_EPOCH};

use async_nats::{HeaderMap, HeaderValue, Message, Request, RequestErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fault::{Fault, Refusal};
use super::link::Link;

/// Codes of JetStream's errors.
const NO_CONSUMER: u32 = 10014;
const NO_MESSAGE: u32 = 10037;
pub(super) const NAME_TAKEN: u32 = 10058;
const NO_STREAM: u32 = 10059;
pub(super) const OTHER_LAST: u32 = 10071;

/// The beginning of what JetStream says of a time that isn't set.
const NO_TIME: &str = "0001-01-01T";

/// How often a stream is looked at that is being created, and how many times.
const CREATION_LOOK: Duration = Duration::from_millis(20);
const CREATION_LOOKS: usize = 50;

/// What a stream is at the moment.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: StreamConfig,
    /// When it was created: tells it from others of its name.
    #[serde(default)]
    pub(super) created: String,
    pub(super) state: StreamState,
}

impl StreamInfo {
    fn is_created(&self) -> bool {
        !self.created.starts_with(NO_TIME)
    }
}

/// What a stream was created as.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamConfig {
    #[serde(default)]
    pub(super) description: String,
}

/// Its messages.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamState {
    /// Sequence number of the first one that is there.
    pub(super) first_seq: u64,
    /// Sequence number of the last one.
    pub(super) last_seq: u64,
    /// How many are missing in between.
    #[serde(default)]
    pub(super) num_deleted: u64,
    /// How many each subject has, if that was asked.
    #[serde(default)]
    pub(super) subjects: std::collections::BTreeMap<String, u64>,
}

/// A message in a stream.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// When it was stored, in milliseconds of the Unix epoch.
    pub(super) at: u64,
    pub(super) payload: Bytes,
}

impl Link {
    /// A stream, once it can be asked for more.
    ///
    /// JetStream knows a stream a little before it has a place for its messages. Asked for one of these meanwhile, or for
    /// its subjects, nats-server 2.9.10 crashes (`jsMsgGetRequest`: the stream's `store` is nil). As long, the stream has
    /// no time of creation.
    pub(super) async fn info(&self, stream: &str) -> Result<StreamInfo, Fault> {
        for _ in 0..CREATION_LOOKS {
            let info: StreamInfo = self.call(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
            if info.is_created() {
                return Ok(info);
            }
            tokio::time::sleep(CREATION_LOOK).await;
        }
        Err(Fault::NoStream)
    }

    /// A stream, with the numbers of messages of its subjects that match a pattern.
    pub(super) async fn info_of(&self, stream: &str, like: &str) -> Result<StreamInfo, Fault> {
        self.info(stream).await?;
        let request = json!({ "subjects_filter": like });
        self.call(&format!("STREAM.INFO.{stream}"), &request).await
    }

    /// A stream's subjects that match a pattern.
    pub(super) async fn subjects(&self, stream: &str, like: &str) -> Result<Vec<String>, Fault> {
        Ok(self.info_of(stream, like).await?.state.subjects.into_keys().collect())
    }

    /// How many messages of a subject a stream has.
    pub(super) async fn count(&self, stream: &str, subject: &str) -> Result<u64, Fault> {
        Ok(self.info_of(stream, subject).await?.state.subjects.into_values().sum())
    }

    /// Creates a stream, unless there is one of this name.
    pub(super) async fn create(&self, stream: &str, config: &Value) -> Result<StreamInfo, Fault> {
        let info: StreamInfo = self.call(&format!("STREAM.CREATE.{stream}"), config).await?;
        if info.is_created() { Ok(info) } else { self.info(stream).await } // by another node
    }

    /// A message of a stream.
    pub(super) async fn get(&self, stream: &str, sequence: u64) -> Result<Option<Stored>, Fault> {
        self.get_message(stream, &json!({ "seq": sequence })).await
    }

    /// The last message of a subject.
    pub(super) async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Fault> {
        self.get_message(stream, &json!({ "last_by_subj": subject })).await
    }

    async fn get_message(&self, stream: &str, which: &Value) -> Result<Option<Stored>, Fault> {
        self.info(stream).await?;
        let answer: Result<GetAnswer, _> =
            self.call(&format!("STREAM.MSG.GET.{stream}"), which).await;
        match answer {
            Ok(GetAnswer { message }) => Ok(Some(message.decode().ok_or(Fault::Unexpected)?)),
            Err(Fault::JetStream(Refusal { code: NO_MESSAGE, .. })) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Removes the messages of a subject before a sequence number.
    ///
    /// JetStream takes 0 and 1 for all of them. It is given the subject also where the stream has only that one: without it, 2.9 goes
    /// through all sequence numbers that the stream has ever had.
    pub(super) async fn purge(
        &self,
        stream: &str,
        subject: &str,
        before: u64,
    ) -> Result<(), Fault> {
        if before <= 1 {
            return Ok(());
        }
        let request = json!({ "filter": subject, "seq": before });
        let IgnoredAny = self.call(&format!("STREAM.PURGE.{stream}"), &request).await?;
        Ok(())
    }

    /// Creates a consumer, with or without a name; returns its name.
    pub(super) async fn consume(
        &self,
        stream: &str,
        name: Option<&str>,
        config: &Value,
    ) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Consumer {
            name: String,
        }
        let request = json!({ "stream_name": stream, "config": config });
        let call = match name {
            Some(name) => format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"),
            None => format!("CONSUMER.CREATE.{stream}"),
        };
        let consumer: Consumer = self.call(&call, &request).await?;
        Ok(consumer.name)
    }

    /// How many messages a consumer has delivered; `None`: there is none of this name.
    pub(super) async fn delivered(&self, stream: &str, name: &str) -> Result<Option<u64>, Fault> {
        #[derive(Deserialize)]
        struct Consumer {
            delivered: Delivered,
        }
        #[derive(Deserialize)]
        struct Delivered {
            consumer_seq: u64,
        }
        let info = self.call(&format!("CONSUMER.INFO.{stream}.{name}"), &json!({})).await;
        match info {
            Ok(Consumer { delivered }) => Ok(Some(delivered.consumer_seq)),
            Err(Fault::NoConsumer) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes a consumer, if it is there.
    pub(super) async fn end_consumer(&self, stream: &str, name: &str) -> Result<(), Fault> {
        match self.call(&format!("CONSUMER.DELETE.{stream}.{name}"), &json!({})).await {
            Ok(IgnoredAny) | Err(Fault::NoConsumer) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Stores a message; returns its sequence number. `last` is that of the subject's last message, if it must be; 0:
    /// there must be none.
    pub(super) async fn store(
        &self,
        subject: &str,
        payload: Bytes,
        last: Option<u64>,
    ) -> Result<u64, Fault> {
        #[derive(Deserialize)]
        struct Acknowledgement {
            seq: u64,
        }
        let headers = last.map(|last| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(last));
            headers
        });
        let answer = self.request(subject.to_owned(), headers, payload, Fault::NoStream).await?;
        let Acknowledgement { seq } = read(&answer.payload)?;
        Ok(seq)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        call: &str,
        request: &impl Serialize,
    ) -> Result<T, Fault> {
        let request = serde_json::to_vec(request).map_err(|_| Fault::Unexpected)?;
        let subject = format!("$JS.API.{call}");
        let answer = self.request(subject, None, request.into(), Fault::NoJetStream).await?;
        read(&answer.payload)
    }

    /// `nobody`: what it means that nobody listens.
    async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        nobody: Fault,
    ) -> Result<Message, Fault> {
        let mut request = Request::new().payload(payload);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let answer = async {
            let answer = self.client().send_request(subject, request).await;
            answer.map_err(|error| match error.kind() {
                RequestErrorKind::TimedOut => Fault::NoAnswer,
                RequestErrorKind::NoResponders => nobody,
                RequestErrorKind::MaxPayloadExceeded => Fault::TooLarge,
                RequestErrorKind::InvalidSubject => Fault::Unexpected,
                RequestErrorKind::Other => Fault::Closed,
            })
        };
        self.during(answer).await
    }
}

/// Reads an answer, which may be an error.
fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Error {
        error: Option<Refusal>,
    }
    let Error { error } = serde_json::from_slice(answer).map_err(|_| Fault::Unexpected)?;
    match error {
        None => serde_json::from_slice(answer).map_err(|_| Fault::Unexpected),
        Some(Refusal { code: NO_STREAM, .. }) => Err(Fault::NoStream),
        Some(Refusal { code: NO_CONSUMER, .. }) => Err(Fault::NoConsumer),
        Some(refusal) => Err(Fault::JetStream(refusal)),
    }
}

#[derive(Deserialize)]
struct GetAnswer {
    message: Encoded,
}

/// A message in a stream, as the answer has it.
#[derive(Deserialize)]
struct Encoded {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    data: String,
}

impl Encoded {
    fn decode(self) -> Option<Stored> {
        let time = humantime::parse_rfc3339(&self.time).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Stored {
            subject: self.subject,
            sequence: self.seq,
            at: u64::try_from(time.as_millis()).ok()?,
            payload: STANDARD.decode(&self.data).ok()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let info = r#"{"type":"x","config":{"name":"a"},"state":{"first_seq":1,"last_seq":7}}"#;
        let info: StreamInfo = read(info.as_bytes()).unwrap();
        assert_eq!((info.state.last_seq, info.config.description.as_str()), (7, ""));
        assert!(info.is_created());
        let early = r#"{"config":{},"created":"0001-01-01T00:00:00Z","state":{"first_seq":0,"last_seq":0}}"#;
        assert!(!read::<StreamInfo>(early.as_bytes()).unwrap().is_created());
        let none = r#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        assert!(matches!(read::<StreamInfo>(none.as_bytes()), Err(Fault::NoStream)));
        let other = r#"{"error":{"code":400,"err_code":10058,"description":"taken"}}"#;
        let refused = read::<StreamInfo>(other.as_bytes());
        assert!(matches!(refused, Err(Fault::JetStream(Refusal { code: NAME_TAKEN, .. }))));
        for broken in ["", "{}", "[]", "x"] {
            assert!(matches!(read::<StreamInfo>(broken.as_bytes()), Err(Fault::Unexpected)));
        }
    }

    #[test]
    fn messages_are_decoded() {
        let message = r#"{"message":{"subject":"a","seq":7,"data":"YSBi","time":"2026-01-02T03:04:05.6789Z"}}"#;
        let GetAnswer { message } = read(message.as_bytes()).unwrap();
        let stored = message.decode().unwrap();
        assert_eq!((stored.sequence, &stored.payload[..]), (7, &b"a b"[..]));
        assert_eq!(stored.at % 86_400_000, ((3 * 60 + 4) * 60 + 5) * 1000 + 678);
    }
}
