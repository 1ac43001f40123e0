//! Messages to a client that resumes its session.

use std::sync::Arc;

use broker::node::Resume;
use broker::protocol::action_cable;
use broker::shard::{GroupKey, SubscriberKey};
use broker::types::{Identifier, SessionId};
use serde_json::json;

use crate::client::{Client, identifier, masked, settle, subscribe, text};
use crate::parts::{Options, Parts, SECOND};
use crate::pipe::pipe;

/// What a stream tells a new connection that takes a subscription over.
async fn resume(broker: &Parts, stream: &str, from: &str) -> Vec<(String, String)> {
    let from = SessionId::parse(from).unwrap();
    let identifier = Identifier::from(json!(identifier(stream)).to_string());
    let group = GroupKey::new(action_cable::CODEC, identifier);
    let (near, far) = pipe(1 << 20);
    let (to, recipient) = (broker.next_session(), broker.recipient(near));
    let from = SubscriberKey { session: from, group };
    let resume = Resume { from, to, recipient: Arc::clone(&recipient) };
    let resumed = broker.router.resume(stream.into(), resume).await.unwrap();
    assert!(resumed.await.unwrap());
    Client::new(far).events()
}

#[tokio::test]
async fn an_answer_to_a_connection_that_closes_takes_no_event_with_it() {
    let broker = Parts::start(&Options { sessions_ttl: 60 * SECOND, ..Options::default() });
    let (mut ann, bob) = (broker.connect(), broker.connect());
    ann.far.send(&subscribe("room"));
    settle().await;
    let welcome = &ann.messages()[0];
    // both in one turn of the shard: bob joins, and then ann is refused a leave and has closed
    bob.join("room", "bob");
    let leave = json!({"command": "leave", "identifier": identifier("room")});
    ann.far.send(&[text(&leave), masked(0x88, &1000_u16.to_be_bytes())].concat());
    settle().await;
    assert_eq!(ann.events(), [], "it was closed before");
    let sid = welcome["sid"].as_str().unwrap();
    let told = resume(&broker, "room", sid).await;
    assert_eq!(told, [("join".to_owned(), "bob".to_owned())]);
}
