//! What operators are told by the shards at work.

use broker::fanout::Stopped;
use broker::types::MemberChange;

use crate::client::settle;
use crate::parts::{Options, Parts};

#[tokio::test]
async fn a_survey_is_of_all_shards() {
    let broker = Parts::start(&Options { shards: 4, ..Options::default() });
    let clients: Vec<_> = (0..30).map(|_| broker.connect()).collect();
    for (number, client) in clients.iter().enumerate() {
        for stream in 0..=number / 10 {
            client.join(&format!("room{stream}"), &number.to_string());
        }
    }
    settle().await;
    broker.publish("room1", "1").await;
    let survey = broker.hub.survey(2).await.unwrap();
    let largest: Vec<_> =
        survey.largest.iter().map(|size| (size.name.as_str(), size.members)).collect();
    assert_eq!(largest, [("room0", 30), ("room1", 20)]);
    assert_eq!((survey.totals.streams, survey.totals.members), (3, 60));
    assert_eq!((survey.tally.joins, survey.tally.leaves, survey.tally.publications), (60, 0, 1));
    assert_eq!(survey.tally.commands, 120);
    let attendance = broker.hub.attendance("room2".into(), (3, usize::MAX)).await.unwrap();
    assert_eq!((attendance.total, attendance.first.len()), (10, 3));
}

#[tokio::test]
async fn who_looks_hears_what_happens_and_is_told_what_was_too_much() {
    let broker = Parts::start(&Options::default());
    let (mut first, second) = (
        broker.hub.observe("room".into()).await.unwrap(),
        broker.hub.observe("room".into()).await.unwrap(),
    );
    let other = broker.hub.observe("elsewhere".into()).await.unwrap();
    let clients: Vec<_> = (0..300).map(|_| broker.connect()).collect();
    for (number, client) in clients.iter().enumerate() {
        client.join("room", &number.to_string());
        settle().await;
    }
    for number in 0..256 {
        let change = first.next().await.unwrap();
        assert_eq!(change.id.as_str(), number.to_string());
        assert!(matches!(change.member, MemberChange::Joined { .. }));
    }
    assert_eq!((first.take_missed(), first.take_missed()), (44, 0));
    assert_eq!((second.take_missed(), other.take_missed()), (44, 0));

    // one who goes is forgotten, and takes nothing from the others
    assert_eq!(broker.hub.survey(0).await.unwrap().observers, 3);
    drop((second, other));
    settle().await;
    assert_eq!(broker.hub.survey(0).await.unwrap().observers, 1);
    clients[0].command("leave", "room");
    let change = first.next().await.unwrap();
    assert_eq!((change.id.as_str(), &change.member), ("0", &MemberChange::Left));
}

#[tokio::test]
async fn the_stop_ends_all_looking() {
    let broker = Parts::start(&Options { shards: 2, ..Options::default() });
    let mut observer = broker.hub.observe("room".into()).await.unwrap();
    let hub = std::sync::Arc::clone(&broker.hub);
    drop(broker);
    hub.stopped().await;
    assert!(observer.next().await.is_none());
    assert!(matches!(hub.survey(1).await, Err(Stopped)));
    assert!(matches!(hub.observe("room".into()).await, Err(Stopped)));
}
