//! What tests of calls share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::{Caller, Settings};
use crate::clock::Clock;
use crate::config::{self, ApplicationConfig, ApplicationSettings, Config};
use crate::types::{About, Call, ChannelCommand, Identifier, Origin, SessionId, State, StateValue};

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The identifier of [`command`], and its token.
pub(super) const IDENTIFIER: &str = r#"{"channel":"A"}"#;
const TOKEN: &str = r#""{\"channel\":\"A\"}""#;

/// An application at an address.
pub(super) fn application(host: &str) -> ApplicationConfig {
    with(ApplicationSettings { rpc_host: Some(host.to_owned()), ..ApplicationSettings::default() })
}

/// An application with these settings.
pub(super) fn with(application: ApplicationSettings) -> ApplicationConfig {
    let settings = config::Settings { application, ..config::Settings::default() };
    Config::from_settings(settings).unwrap().application.unwrap()
}

/// Calls an application, until the test ends.
pub(super) fn caller(application: ApplicationConfig) -> Arc<Caller> {
    let settings = Settings { application, key: Some("k3y".into()) };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    Caller::start(settings, &Clock::new(), &tasks, &stop).unwrap()
}

/// A call of session 1, which was session 2 at first.
pub(super) fn call(about: About) -> Call {
    let headers = [("Cookie".into(), "a=b".into()), ("REMOTE_ADDR".into(), "10.0.0.7".into())];
    let mut connection = State::default();
    connection.merge([("_s_".into(), StateValue::Text("s".into()))]);
    Call {
        session: SessionId::from_bits(1),
        first: SessionId::from_bits(2),
        number: 7,
        origin: Arc::new(Origin {
            url: "http://h/cable?x=1".into(),
            headers: headers.into_iter().collect(),
        }),
        identifiers: "me".into(),
        connection,
        about,
    }
}

/// A command.
pub(super) fn command(data: &str) -> Call {
    let mut channel = State::default();
    channel.merge([("$p".into(), StateValue::Text("room".into()))]);
    call(About::Command {
        kind: ChannelCommand::Message,
        identifier: Identifier::from(TOKEN),
        data: data.into(),
        channel,
    })
}

/// The end of a session with one subscription.
pub(super) fn disconnect() -> Call {
    let mut state = State::default();
    state.merge([("a".into(), StateValue::Text("1".into()))]);
    call(About::Disconnect(vec![(Identifier::from(TOKEN), state)]))
}

/// Waits until something is so.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never is {what}");
}
