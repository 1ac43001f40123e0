//! A session is taken over with all the streams of its subscriptions, or anew.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use std::time::Duration;

use super::*;
use crate::auth::{self, Access};
use crate::clock::Clock;
use crate::config::Proxies;
use crate::net::{ConnectionLimits, Heartbeat, Liveness, Settings, TokenName};
use crate::node::Startup;
use crate::outbound::{Outbox, Wire};
use crate::protocol::{PingParameters, PingPrecision, action_cable};
use crate::shard::{self, HistorySettings, Input, Publish, ResumeSettings};
use crate::telemetry::Instruments;
use crate::types::{
    Grant, GroupKey, Limits, Rights, StreamCommand, Subscribe, SubscribeOptions, Watch,
};

const MINUTE: Duration = Duration::from_secs(60);

fn start() -> Arc<Context> {
    let (clock, tasks, stop) = (Clock::new(), TaskTracker::new(), CancellationToken::new());
    let instruments = Arc::new(Instruments::new());
    let streams = shard::Settings {
        presence_ttl: MINUTE,
        occupancy_interval: MINUTE,
        resume: ResumeSettings { ttl: MINUTE, max_unacked: MINUTE },
        max_members: usize::MAX,
        max_records: usize::MAX,
        max_answer: usize::MAX,
        history: HistorySettings { limit: 0, ttl: MINUTE, max_bytes: 0 },
        log: crate::log::LogId(0),
    };
    let shards = Startup::empty(2, streams, clock.now());
    let router = shards.start(&clock, &instruments, &tasks, &stop, &stop);
    let liveness = Liveness { interval: Duration::ZERO, timeout: MINUTE };
    let heartbeat = Heartbeat::new(Arc::clone(&clock), liveness);
    let settings = Settings {
        limits: Limits::default(),
        max_message: 1000,
        max_outbox: 1000,
        connection_limits: ConnectionLimits { connections: 1, per_address: None, per_second: None },
        sessions_ttl: MINUTE,
        ping: PingParameters { ping_interval: MINUTE, ping_precision: PingPrecision::Seconds },
    };
    let access = (Access::default(), TokenName::new("jid"), Proxies::default());
    Context::new(
        (router, None),
        (heartbeat, None, None),
        instruments,
        clock,
        tasks,
        settings,
        access,
    )
}

#[tokio::test]
async fn a_subscription_comes_along_with_all_its_streams_or_not_at_all() {
    let context = start();
    let (from, to) = (SessionId::from_bits(1), SessionId::from_bits(2));
    let rights = Rights { join: true, whisper: true };
    let mut parked = Session::restored(from, Identity::ANYONE);
    let old = Outbox::new(Box::new(Wire::default()), action_cable::CODEC, 1000);
    for (identifier, stream, is_there) in [
        ("\"whole\"", "a", true),
        ("\"whole\"", "b", true),
        ("\"part\"", "c", true),
        ("\"part\"", "gone", false),
        ("\"part\"", "d", true),
    ] {
        parked.restore(identifier.into(), stream.into(), Watch::Members, rights);
        let key = || {
            let group = GroupKey::new(action_cable::CODEC, identifier.into());
            SubscriberKey { session: from, group }
        };
        let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
        let command = StreamCommand::from(Subscribe { join: None, history: None, grant, options });
        let recipient = Arc::clone(&old);
        let input = Input::Command { key: key(), recipient, command, reference: None };
        if is_there {
            context.router.try_send(stream.into(), input).unwrap();
            let (stream, outbox, at) = (stream.into(), Arc::clone(&old), context.clock.now());
            let ended = Ended {
                stream,
                key: key(),
                outbox,
                at,
                grant: Some(Grant::OPEN),
                ttl: None,
                goodbye: None,
            };
            context.router.try_end(ended).unwrap();
        }
    }
    context.sessions.restore([parked], context.clock.now());

    let wire = Wire::default();
    let outbox = Outbox::new(Box::new(wire.clone()), action_cable::CODEC, 1000);
    let mut session = Session::new(to, &auth::Client::default());
    let claim = claim(&context, from, Identity::ANYONE).unwrap();
    let restored = take_over(&context, (from, claim), &mut session, &outbox).await;
    assert_eq!(restored, ["\"whole\"".into()]);
    for stream in ["a", "b", "c", "d"] {
        let data = format!("\"in {stream}\"").as_str().into();
        let publication = Publish { data, labels: None, at: 0, except: None, is_transient: false };
        context.router.publish(stream.into(), publication).await.unwrap();
    }
    for _ in 0..2 {
        context.router.wait_applied().await; // once they have been told, too
    }
    let told = String::from_utf8_lossy(&wire.0.lock()).into_owned();
    let heard = ["a", "b", "c", "d"].map(|stream| told.contains(&format!("\"in {stream}\"")));
    assert_eq!(heard, [true, true, false, false], "{told}");
}
