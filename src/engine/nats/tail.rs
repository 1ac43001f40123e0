//! A consumer of a stream, which is asked for messages when they are wanted.

use std::pin::Pin;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::Sleep;

use super::fault::Fault;
use super::link::Link;

/// Messages of a pull, at most: what waits in this process.
const BATCH: usize = 16;

/// Time after which NATS removes a consumer that nobody asks. Its node has ended, or another connection.
const INACTIVE: Duration = Duration::from_secs(30);

/// For how long the answer to the creation of a consumer is waited for at first.
const CREATION: Duration = Duration::from_millis(500);

/// Statuses of messages that have none of the stream.
const HEARTBEAT: u16 = 100;
const PULL_OVER: u16 = 408;

/// Messages of a stream in order, pulled one batch after the other.
#[derive(Debug)]
pub(super) struct Tail {
    link: Link,
    inbox: String,
    messages: Subscriber,
    /// Where to ask for messages.
    pulls: String,
    /// For how long a pull waits for messages.
    wait: Duration,
    /// Maximum time for an answer.
    timeout: Duration,
    /// Messages asked for at a time.
    batch: usize,
    /// Messages that may still come for the last pull; 0: it is over.
    left: usize,
    /// Number of messages that have come.
    count: u64,
    /// Ends when the last pull must be over.
    patience: Pin<Box<Sleep>>,
}

/// What a pull brings.
#[derive(Debug)]
pub(super) enum Pulled {
    Message(Received),
    /// The pull is over: there was nothing more.
    Idle,
}

/// A message of a stream.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// Its number among those that the consumer has delivered.
    number: u64,
    /// When it was stored, in milliseconds of the Unix epoch.
    pub(super) at: u64,
    pub(super) payload: Bytes,
}

/// Which messages to begin with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    /// With this sequence number.
    At(u64),
    /// With the last one of each subject that matches.
    LastOf(&'a str),
    /// With this sequence number, for a consumer with a name, which is there as long as the stream's server runs.
    Named(&'a str, u64),
}

impl<'a> Start<'a> {
    fn config(self) -> Value {
        let (policy, sequence, subject) = match self {
            Self::At(sequence) | Self::Named(_, sequence) => {
                ("by_start_sequence", Some(sequence), None)
            }
            Self::LastOf(subject) => ("last_per_subject", None, Some(subject)),
        };
        let name = self.name();
        json!({
            "durable_name": name,
            "deliver_policy": policy,
            "opt_start_seq": sequence,
            "filter_subject": subject,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": true,
            "inactive_threshold": name.is_none().then(|| nanoseconds(INACTIVE)),
        })
    }

    fn name(self) -> Option<&'a str> {
        match self {
            Self::Named(name, _) => Some(name),
            Self::At(_) | Self::LastOf(_) => None,
        }
    }
}

impl Tail {
    /// Creates a consumer. Each pull waits for messages for `wait`, and is answered within `timeout` then.
    pub(super) async fn open(
        link: &Link,
        stream: &str,
        start: Start<'_>,
        (wait, timeout): (Duration, Duration),
    ) -> Result<Self, Fault> {
        let name = create(link, stream, start, timeout).await?;
        let batch = if start.name().is_some() { 1 } else { BATCH };
        let client = link.client();
        let inbox = client.new_inbox();
        let messages = async { client.subscribe(inbox.clone()).await.map_err(|_| Fault::Closed) };
        Ok(Self {
            link: link.clone(),
            messages: link.during(messages).await?,
            inbox,
            pulls: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            wait,
            timeout,
            batch,
            left: 0,
            count: 0,
            patience: Box::pin(tokio::time::sleep(wait)),
        })
    }

    /// Waits for the next message, or the end of a pull. May be dropped, and called again.
    pub(super) async fn next(&mut self) -> Result<Pulled, Fault> {
        loop {
            if self.left == 0 {
                self.pull().await?;
            }
            let message = tokio::select! {
                biased;
                message = self.messages.next() => message.ok_or(Fault::Closed)?,
                () = &mut self.patience => return Err(Fault::Silent),
            };
            match message.status.map(|status| status.as_u16()) {
                None => {
                    self.left -= 1;
                    self.count += 1;
                    let message = received(message).ok_or(Fault::Unexpected)?;
                    if message.number != self.count {
                        return Err(Fault::NoConsumer); // its server has begun anew
                    }
                    return Ok(Pulled::Message(message));
                }
                Some(PULL_OVER) => {
                    self.left = 0;
                    return Ok(Pulled::Idle);
                }
                Some(HEARTBEAT) => {}
                Some(_) => return Err(Fault::NoConsumer),
            }
        }
    }

    async fn pull(&mut self) -> Result<(), Fault> {
        let request = json!({ "batch": self.batch, "expires": nanoseconds(self.wait) }).to_string();
        let client = self.link.client();
        let sent =
            client.publish_with_reply(self.pulls.clone(), self.inbox.clone(), request.into());
        sent.await.map_err(|_| Fault::Closed)?;
        self.left = self.batch;
        self.patience = Box::pin(tokio::time::sleep(self.wait + self.timeout));
        Ok(())
    }
}

/// Creates a consumer. One without a name is on a single server, which JetStream chooses among those that have the stream,
/// also if it has ended: then nothing answers, and it chooses anew.
async fn create(
    link: &Link,
    stream: &str,
    start: Start<'_>,
    timeout: Duration,
) -> Result<String, Fault> {
    let (name, config) = (start.name(), start.config());
    if name.is_some() {
        return link.consume(stream, name, &config).await;
    }
    let mut patience = CREATION;
    while patience < timeout {
        let created = tokio::time::timeout(patience, link.consume(stream, None, &config));
        if let Ok(answer) = created.await {
            return answer;
        }
        patience = patience * 3 / 2;
    }
    Err(Fault::Silent)
}

/// What a consumer delivers. The address for an acknowledgement, which it doesn't want, says what it is:
/// `$JS.ACK.[DOMAIN.ACCOUNT.]STREAM.CONSUMER.DELIVERIES.SEQUENCE.CONSUMER'S.TIME.PENDING`, with more behind that if it
/// has a domain.
fn received(message: Message) -> Option<Received> {
    let address = message.reply?;
    let words: Vec<&str> = address.split('.').collect();
    let at = if words.len() == 9 { 5 } else { 7 };
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    Some(Received {
        subject: message.subject.into_string(),
        sequence: number(at)?,
        number: number(at + 1)?,
        at: number(at + 2)? / 1_000_000,
        payload: message.payload,
    })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_what_a_message_is() {
        let message = |reply: &str| Message {
            subject: "a.log.0".into(),
            reply: Some(reply.into()),
            payload: Bytes::from_static(b"a"),
            headers: None,
            status: None,
            description: None,
            length: 1,
        };
        for address in [
            "$JS.ACK.a-0.c1.1.42.7.1700000000123456789.3",
            "$JS.ACK.hub.ACCOUNT.a-0.c1.1.42.7.1700000000123456789.3.x",
        ] {
            let received = received(message(address)).unwrap();
            let Received { sequence, number, at, .. } = received;
            assert_eq!((sequence, number, at), (42, 7, 1_700_000_000_123), "{address}");
        }
        assert!(received(message("$JS.ACK.a-0")).is_none());
    }
}
