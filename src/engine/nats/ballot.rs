//! Bids of the nodes: each says again and again what it has of a log that isn't settled, for all that want to hear it.

use std::collections::BTreeMap;

use async_nats::Subscriber;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _};

use super::fault::Fault;
use super::link::Link;
use crate::engine::bids::{Bid, Bids};
use crate::log::{LogId, NodeId};

/// Turns after which a bid doesn't count any more that wasn't repeated: its node has read on, or is gone.
const LASTS: u64 = 10;

/// The bids that are heard while a log isn't settled.
#[derive(Debug)]
pub(super) struct Ballot {
    link: Link,
    subject: String,
    log: LogId,
    messages: Subscriber,
    turn: u64,
    /// By node, with the turn in which it was heard last.
    heard: BTreeMap<NodeId, (Bid, u64)>,
}

impl Ballot {
    pub(super) async fn open(link: &Link, subject: &str, log: LogId) -> Result<Self, Fault> {
        let client = link.client();
        let messages =
            async { client.subscribe(subject.to_owned()).await.map_err(|_| Fault::Closed) };
        let messages = link.during(messages).await?;
        let (link, subject) = (link.clone(), subject.to_owned());
        Ok(Self { link, subject, log, messages, turn: 0, heard: BTreeMap::new() })
    }

    /// Bids that were heard don't count any more: the log was settled since, and their nodes may have read on.
    pub(super) fn forget(&mut self) {
        while let Some(Some(_)) = self.messages.next().now_or_never() {}
        self.heard.clear();
    }

    /// Says what this node has; returns what all have who have said so lately.
    pub(super) async fn turn(&mut self, own: NodeId, bid: Bid) -> Result<Bids, Fault> {
        self.turn += 1;
        let said = self.link.client().publish(self.subject.clone(), write(self.log, own, bid));
        self.link.during(async { said.await.map_err(|_| Fault::Closed) }).await?;
        while let Some(message) = self.messages.next().now_or_never() {
            let message = message.ok_or(Fault::Closed)?;
            if let Some((log, node, bid)) = read(message.payload)
                && log == self.log
            {
                self.heard.insert(node, (bid, self.turn));
            }
        }
        self.heard.insert(own, (bid, self.turn));
        self.heard.retain(|_, (_, turn)| *turn + LASTS > self.turn);
        let mut bids = Bids::default();
        self.heard.iter().for_each(|(node, (bid, _))| bids.insert(*node, *bid));
        Ok(bids)
    }
}

fn write(log: LogId, node: NodeId, bid: Bid) -> Bytes {
    let mut message = BytesMut::new();
    for number in [log.0, node.0, bid.cursor, bid.nonce] {
        message.put_u64(number);
    }
    message.freeze()
}

fn read(mut message: Bytes) -> Option<(LogId, NodeId, Bid)> {
    let mut next = || message.try_get_u64().ok();
    let (log, node) = (LogId(next()?), NodeId(next()?));
    let bid = Bid { cursor: next()?, nonce: next()?, ..Bid::default() };
    message.is_empty().then_some((log, node, bid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bid_is_read_and_nothing_else() {
        let bid = Bid { cursor: 3, nonce: u64::MAX, ..Bid::default() };
        let message = write(LogId(1), NodeId(2), bid);
        assert_eq!(read(message.clone()), Some((LogId(1), NodeId(2), bid)));
        assert_eq!(read(message.slice(1..)), None);
        assert_eq!(read([&message[..], &[0]].concat().into()), None);
    }
}
