//! The application, as configured.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::http::HeaderName;

use super::error::Error;
use crate::app::rpc::{self, Caller};
use crate::clock::Clock;
use crate::config::Config;
use crate::net::{Application, OriginRules};

/// Begins to call the application, if it is to be asked.
pub(super) fn start(
    config: &Config,
    clock: &Arc<Clock>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Option<Arc<Application>>, Error> {
    let Some(application) = &config.application else { return Ok(None) };
    let (application, key) = (application.clone(), config.access.calling_key());
    let headers = application.headers.iter();
    let rules = OriginRules {
        headers: headers
            .filter_map(|spelled| Some((spelled.parse().ok()?, spelled.as_str().into())))
            .collect(),
        cookies: application.cookies.clone(),
        token: format!("x-{}", config.access.jwt_param).parse::<HeaderName>().ok(),
        is_tls: config.tls.is_some(),
    };
    let (patience, disconnects) = (application.command_timeout, application.disconnect);
    let settings = rpc::Settings { application, key };
    let caller =
        Caller::start(settings, clock, tasks, stop).map_err(Error::ApplicationAuthorities)?;
    let connects = config.access.enforce_jwt != Some(true);
    Ok(Some(Arc::new(Application { caller, rules, connects, patience, disconnects })))
}
