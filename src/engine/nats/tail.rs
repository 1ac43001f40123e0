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
    /// Messages that may still come for the last pull; 0: it is over.
    left: usize,
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
}

impl Start<'_> {
    fn config(self) -> Value {
        let (policy, sequence, subject) = match self {
            Self::At(sequence) => ("by_start_sequence", Some(sequence), None),
            Self::LastOf(subject) => ("last_per_subject", None, Some(subject)),
        };
        json!({
            "deliver_policy": policy,
            "opt_start_seq": sequence,
            "filter_subject": subject,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": true,
            "inactive_threshold": nanoseconds(INACTIVE),
        })
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
        let name = link.consume(stream, &start.config()).await?;
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
            left: 0,
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
                    return received(message).map(Pulled::Message).ok_or(Fault::Unexpected);
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
        let request = json!({ "batch": BATCH, "expires": nanoseconds(self.wait) }).to_string();
        let client = self.link.client();
        let sent =
            client.publish_with_reply(self.pulls.clone(), self.inbox.clone(), request.into());
        sent.await.map_err(|_| Fault::Closed)?;
        self.left = BATCH;
        self.patience = Box::pin(tokio::time::sleep(self.wait + self.timeout));
        Ok(())
    }
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
            assert_eq!((received.sequence, received.at), (42, 1_700_000_000_123), "{address}");
        }
        assert!(received(message("$JS.ACK.a-0")).is_none());
    }
}
