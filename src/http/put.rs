//! `PUT /api/presence/{stream}/{id}`: the application puts a record of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::Stream;
use metrics::counter;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::Api;
use super::body;
use super::reply::Refusal;
use crate::config::HumanDuration;
use crate::protocol::plain;
use crate::session;
use crate::shard::{Placed, Put};
use crate::telemetry::metrics::LIMIT_REFUSALS;
use crate::types::{Join, Limit, PresenceId, RawJson, StreamName};

/// Minimum TTL: the broker counts in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// Maximum TTL: a longer one is a mistake, or meant to be none.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// A request's body.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    info: RawJson,
    ttl: Option<Duration>,
}

pub(super) async fn put<B: Buf>(
    api: &Api,
    stream: StreamName,
    id: PresenceId,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Placed, Refusal> {
    let (length, max) = (stream.as_str().len(), api.limits.stream_name_size);
    if length > max {
        let reason = format!("the stream's name has {length} bytes, at most {max} are allowed");
        return Err(over(Limit::StreamNameSize, reason));
    }
    let body = body::read(body, api.max_body).await?;
    let Contents { info, ttl } = decode(&body).map_err(Refusal::Malformed)?;
    let mut join = Join { id, info, extra: None };
    session::check_presence(&join, &api.limits).map_err(|(limit, reason)| match limit {
        Some(limit) => over(limit, reason.into_owned()),
        None => Refusal::Malformed(reason.into_owned()),
    })?;
    if let Some(fetcher) = &api.fetcher {
        join.extra = Arc::clone(fetcher).ask(stream.clone(), join.id.clone()).await;
    }
    Ok(api.router.put(stream, Put { join, ttl }).await??)
}

/// A refusal because of a limit, which is counted.
fn over(limit: Limit, reason: String) -> Refusal {
    counter!(LIMIT_REFUSALS, "limit" => <&str>::from(limit)).increment(1);
    Refusal::Malformed(reason)
}

/// Parses a body. An error is a message for the application's developer.
fn decode(body: &[u8]) -> Result<Contents, String> {
    #[derive(Default, Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        info: Option<&'a RawValue>,
        #[serde(borrow)]
        ttl: Option<&'a RawValue>,
    }
    let fields = match body.trim_ascii().first() {
        None => Fields::default(),
        Some(b'{') => serde_json::from_slice(body)
            .map_err(|error| format!("the body is not readable JSON: {error}"))?,
        Some(_) => return Err("the body is not a JSON object: {\"info\":…,\"ttl\":…}".to_owned()),
    };
    let info = fields.info.map_or("null", RawValue::get);
    if let Some(objection) = plain::objection(info) {
        return Err(format!("`info` {objection}"));
    }
    let ttl = fields.ttl.map(|ttl| read_ttl(ttl.get())).transpose()?;
    Ok(Contents { info: info.into(), ttl })
}

/// A duration as in the settings, or a number of seconds.
fn read_ttl(json: &str) -> Result<Duration, String> {
    let text: Cow<'_, str> = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).map_err(|error| format!("`ttl`: {error}"))?,
        _ => json.into(),
    };
    let HumanDuration(ttl) = text.parse().map_err(|error| format!("`ttl` is {error}"))?;
    if ttl < SHORTEST {
        return Err("`ttl` is too short: at least 1ms, or delete the record".to_owned());
    }
    if ttl > LONGEST {
        return Err("`ttl` is too long: at most ten years, or leave it out".to_owned());
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(info: &str, ttl: Option<u64>) -> Contents {
        Contents { info: info.into(), ttl: ttl.map(Duration::from_millis) }
    }

    #[test]
    fn everything_is_optional() {
        for body in ["", " \n", "{}", r#"{"info":null,"ttl":null}"#, r#"{"tag":1}"#] {
            assert_eq!(decode(body.as_bytes()), Ok(contents("null", None)), "{body}");
        }
        let body = br#"{"info":{ "n":9007199254740993 },"ttl":"1m 30s"}"#;
        assert_eq!(decode(body), Ok(contents(r#"{ "n":9007199254740993 }"#, Some(90_000))));
        for (ttl, milliseconds) in
            [("30", 30_000), ("0.5", 500), ("\"30\"", 30_000), ("\"1ms\"", 1)]
        {
            let body = format!(r#"{{"ttl":{ttl}}}"#);
            let expected = Ok(contents("null", Some(milliseconds)));
            assert_eq!(decode(body.as_bytes()), expected, "{ttl}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let deep = format!(r#"{{"info":{}1{}}}"#, "[".repeat(65), "]".repeat(65));
        for (body, reason) in [
            ("[]", "not a JSON object"),
            ("{", "not readable JSON"),
            (r#"{"ttl":1,"ttl":2}"#, "duplicate field"),
            (deep.as_str(), "`info` is nested too deeply"),
            (r#"{"info":"\ud800"}"#, "`info` has half a surrogate pair"),
            (r#"{"ttl":0}"#, "at least 1ms"),
            (r#"{"ttl":"0.0001s"}"#, "at least 1ms"),
            (r#"{"ttl":-1}"#, "not a duration"),
            (r#"{"ttl":1e99}"#, "not a duration"),
            (r#"{"ttl":99999999999}"#, "at most ten years"),
            (r#"{"ttl":"soon"}"#, "not a duration"),
            (r#"{"ttl":{"s":1}}"#, "not a duration"),
            (r#"{"ttl":true}"#, "not a duration"),
        ] {
            let error = decode(body.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }
}
