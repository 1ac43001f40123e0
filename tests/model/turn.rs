//! What is said to a stream before anyone is told leaves as one write to each who follows it.

use broker::broker::{Input, Shard, SubscriberKey};
use broker::clock::Clock;
use broker::types::{
    Arrival, Codec, Grant, GroupKey, Identifier, SessionId, StreamCommand, StreamName,
};
use std::time::Duration;

const SUBSCRIBERS: u32 = 10;
const MESSAGES: usize = 5;

#[test]
fn what_is_said_in_a_turn_is_one_write_to_each() {
    let now = Clock::new().now();
    let mut shard = Shard::new(crate::shard::without_history(Duration::ZERO), now);
    let streams = ["one", "two"].map(StreamName::from);
    for (stream, recipient) in
        streams.iter().flat_map(|stream| (0..SUBSCRIBERS).map(move |r| (stream, r)))
    {
        let group = GroupKey::new(Codec::ActionCable, Identifier::from("\"room\""));
        let key = SubscriberKey { session: SessionId::from_bits(recipient.into()), group };
        let (history, arrival) = (None, Arrival::default());
        let command = StreamCommand::Subscribe { join: None, history, grant: Grant::OPEN, arrival };
        shard.handle(stream, Input::Command { key, recipient, command, reference: None }, now);
    }
    while shard.poll_reply().is_some() {}
    for round in 0..3 {
        for stream in &streams {
            for _ in 0..MESSAGES {
                let (data, event) = ("1".into(), None);
                shard.handle(stream, Input::Publish { data, event, at: 0, except: None }, now);
            }
        }
        let mut writes = 0;
        while let Some(slice) = shard.poll_fan_out(3, now) {
            assert_eq!(slice.messages.len(), MESSAGES, "in round {round}");
            writes += slice.recipients.len();
        }
        assert_eq!(writes, 2 * SUBSCRIBERS as usize, "in round {round}");
    }
}
