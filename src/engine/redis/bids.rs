//! Bids, as Redis has them.

use redis::Value;

use super::entry::{bytes, number};
use crate::engine::bids::{Bid, Bids};
use crate::log::NodeId;

/// Bids from a hash: by node, `cursor nonce`. Other fields aren't bids.
pub(super) fn read(fields: Vec<Value>) -> Option<Bids> {
    let texts: Vec<_> = fields.into_iter().map(bytes).collect::<Option<_>>()?;
    let mut bids = Bids::default();
    for pair in texts.chunks_exact(2) {
        let [node, bid] = pair else { continue };
        let Some(node) = number(node) else { continue };
        let middle = memchr::memchr(b' ', bid)?;
        let (cursor, nonce) = (number(bid.get(..middle)?)?, number(bid.get(middle + 1..)?)?);
        bids.insert(NodeId(node), Bid { cursor, nonce });
    }
    Some(bids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read() {
        let text = |text: &str| Value::BulkString(text.into());
        let fields = ["run", "abc", "1", "5 7", "2", "9 7"].map(text);
        let mut bids = Bids::default();
        bids.insert(NodeId(1), Bid { cursor: 5, nonce: 7 });
        bids.insert(NodeId(2), Bid { cursor: 9, nonce: 7 });
        assert_eq!(read(fields.into()), Some(bids));
        assert_eq!(read(vec![text("1"), text("5")]), None);
        assert_eq!(read(vec![Value::Nil]), None);
    }
}
