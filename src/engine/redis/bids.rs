//! Bids, as Redis has them.

use redis::Value;

use super::entry::{bytes, number};
use crate::engine::bids::{Bid, Bids};
use crate::log::NodeId;

/// Bids, and the number of their ballot, from a hash: by node, `round cursor nonce`. Other fields aren't bids.
pub(super) fn read(fields: Vec<Value>) -> Option<(Bids, u64)> {
    let texts: Vec<_> = fields.into_iter().map(bytes).collect::<Option<_>>()?;
    let (mut bids, mut ballot) = (Bids::default(), None);
    for pair in texts.chunks_exact(2) {
        let [node, bid] = pair else { continue };
        if node == b"ballot" {
            ballot = number(bid);
        }
        let Some(node) = number(node) else { continue };
        let mut words = bid.split(|byte| *byte == b' ').map(number);
        let (round, cursor, nonce) = (words.next()??, words.next()??, words.next()??);
        bids.insert(NodeId(node), Bid { round, cursor, nonce });
    }
    Some((bids, ballot?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read() {
        let text = |text: &str| Value::BulkString(text.into());
        let fields = ["run", "abc", "ballot", "8", "1", "3 5 7", "2", "3 9 7"].map(text);
        let mut bids = Bids::default();
        bids.insert(NodeId(1), Bid { round: 3, cursor: 5, nonce: 7 });
        bids.insert(NodeId(2), Bid { round: 3, cursor: 9, nonce: 7 });
        assert_eq!(read(fields.into()), Some((bids, 8)));
        for broken in [["1", "5 7"], ["1", "3 5 x"], ["1", "3 5 7"]] {
            assert_eq!(read(broken.map(text).into()), None, "{broken:?}");
        }
        assert_eq!(read(vec![Value::Nil]), None);
    }
}
