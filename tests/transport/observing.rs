//! The dashboard: surveys and observers of running shards.

use broker::node::{Unavailable, inspect};
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
    let survey = inspect::survey(&broker.router, 2).await.unwrap();
    let largest: Vec<_> =
        survey.largest.iter().map(|size| (size.name.as_str(), size.members)).collect();
    assert_eq!(largest, [("room0", 30), ("room1", 20)]);
    assert_eq!((survey.totals.streams, survey.totals.members), (3, 60));
    assert_eq!((survey.tally.joins, survey.tally.leaves, survey.tally.publications), (60, 0, 1));
    assert_eq!(survey.tally.commands, 120);
    let attendance =
        inspect::attendance(&broker.router, "room2".into(), (3, usize::MAX)).await.unwrap();
    assert_eq!((attendance.total, attendance.first.len()), (10, 3));
}

#[tokio::test]
async fn who_looks_hears_what_happens_and_is_told_what_was_too_much() {
    let broker = Parts::start(&Options::default());
    let (mut first, second) = (
        inspect::observe(&broker.router, "room".into()).await.unwrap(),
        inspect::observe(&broker.router, "room".into()).await.unwrap(),
    );
    let other = inspect::observe(&broker.router, "elsewhere".into()).await.unwrap();
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
    assert_eq!(inspect::survey(&broker.router, 0).await.unwrap().observers, 3);
    drop((second, other));
    settle().await;
    assert_eq!(inspect::survey(&broker.router, 0).await.unwrap().observers, 1);
    clients[0].command("leave", "room");
    let change = first.next().await.unwrap();
    assert_eq!((change.id.as_str(), &change.member), ("0", &MemberChange::Left));
}

#[tokio::test]
async fn the_stop_ends_all_looking() {
    let broker = Parts::start(&Options { shards: 2, ..Options::default() });
    let mut observer = inspect::observe(&broker.router, "room".into()).await.unwrap();
    let router = std::sync::Arc::clone(&broker.router);
    drop(broker);
    router.stopped().await;
    assert!(observer.next().await.is_none());
    assert!(matches!(inspect::survey(&router, 1).await, Err(Unavailable::Stopping)));
    assert!(matches!(inspect::observe(&router, "room".into()).await, Err(Unavailable::Stopping)));
}
