//! The application that is asked about connections and channels.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::HeaderName;

use super::application_error::ApplicationError;
use super::application_settings::ApplicationSettings;
use super::bounds::bounded;
use super::defaults;
use super::error::ConfigError;
use super::rpc_host::RpcHost;
use super::secret::{self, Secret};
use super::tls::{certificates, read};
use super::value::{ByteSize, DisconnectMode, HumanDuration, RpcProtocol};

const AUTHORITIES: &str = "rpc-tls-root-ca";

/// Minimum time for an answer over a network.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);
/// Maximum time that a client waits.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum of calls, waiting or with the application.
const MAX_CALLS: usize = 1_000_000;
/// Minimum size of an answer: a confirmation must fit.
const MIN_SIZE: usize = 1024;
/// Maximum size of an answer: each call may hold one.
const MAX_SIZE: usize = 256 * 1024 * 1024;

/// The application's callbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationConfig {
    /// Where it is.
    pub host: RpcHost,
    /// The key that it is shown, unless derived.
    pub secret: Option<Secret>,
    /// What is particular in TLS; `None` is none.
    pub tls: Option<RpcTls>,
    /// Maximum number of calls at a time; `None` finds it out.
    pub concurrency: Option<usize>,
    /// Maximum number of calls that wait.
    pub backlog: usize,
    /// Maximum time for an answer. Never zero.
    pub request_timeout: Duration,
    /// Maximum time for a call, with its wait and repeats. At least [`Self::request_timeout`].
    pub command_timeout: Duration,
    /// Maximum size of an answer, in bytes.
    pub max_answer: usize,
    /// The same over gRPC, if it is another.
    pub max_receive: Option<usize>,
    /// Maximum size of a call over gRPC, in bytes.
    pub max_send: Option<usize>,
    /// Headers of the handshake that it is sent, as they were spelled.
    pub headers: Vec<String>,
    /// Cookies that it is sent; `None` is all.
    pub cookies: Option<Vec<String>>,
    /// Which ends of sessions it learns.
    pub disconnect: DisconnectConfig,
}

/// Which ends of sessions the application learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisconnectConfig {
    /// Of which sessions.
    pub mode: DisconnectMode,
    /// Maximum number per second; `None` is unlimited.
    pub rate: Option<usize>,
    /// Whether at the end of each connection, rather than when the session can no longer be resumed.
    pub at_once: bool,
}

/// TLS to the application.
#[derive(Clone, PartialEq, Eq)]
pub struct RpcTls {
    /// Whether its certificate is verified.
    pub verify: bool,
    /// Certificates to trust instead of the system's: as they were given, and the PEM.
    pub authorities: Option<(String, Vec<u8>)>,
}

impl ApplicationConfig {
    /// The application, if there is an address.
    pub(super) fn from_settings(
        settings: &mut ApplicationSettings,
    ) -> Result<Option<Self>, ConfigError> {
        let (given, file) = (settings.http_rpc_secret.take(), settings.http_rpc_secret_file.take());
        let secret = secret::read("http-rpc-secret", given, file)?;
        if secret.as_ref().is_some_and(|secret| secret.each().count() > 1) {
            return Err(ApplicationError::SeveralSecrets.into());
        }
        let host = host(settings)?;
        let (request_timeout, command_timeout) = timeouts(settings)?;
        let headers = settings.headers.take().unwrap_or_else(|| defaults::HEADERS.to_owned());
        let headers = names("headers", "header", &headers)?;
        let cookies = settings.proxy_cookies.take().filter(|names| !names.trim().is_empty());
        let cookies = cookies.map(|text| names("proxy-cookies", "cookie", &text)).transpose()?;
        let has_cookies = headers.iter().any(|name| name.eq_ignore_ascii_case("cookie"));
        if cookies.is_some() && !has_cookies {
            return Err(ApplicationError::CookiesWithoutHeader.into());
        }
        let max = |setting, given| size(setting, given).transpose();
        let max_receive = max("rpc-max-call-recv-size", settings.rpc_max_call_recv_size)?;
        let max_send = max("rpc-max-call-send-size", settings.rpc_max_call_send_size)?;
        let max_answer = max("rpc-max-answer", settings.rpc_max_answer)?;
        let concurrency = settings.rpc_concurrency.filter(|count| *count > 0);
        let calls = |setting, given| {
            let max = (MAX_CALLS, "no application has that many at a time");
            bounded(setting, given, (1, "no call would get through"), max)
        };
        let concurrency = concurrency.map(|given| calls("rpc-concurrency", given)).transpose()?;
        let backlog = settings.rpc_backlog.unwrap_or(defaults::RPC_BACKLOG);
        let backlog = bounded(
            "rpc-backlog",
            backlog,
            (1, "no call could wait"),
            (MAX_CALLS, "they would never be answered in time"),
        )?;
        let disconnect = disconnect(settings)?;
        let Some(host) = host else { return Ok(None) };
        let tls = tls(&host, settings)?;
        if matches!(host, RpcHost::Http(_)) {
            for (setting, is_given) in [
                ("rpc-max-call-recv-size", max_receive.is_some()),
                ("rpc-max-call-send-size", max_send.is_some()),
            ] {
                if is_given {
                    return Err(ApplicationError::GrpcOnly { setting }.into());
                }
            }
        }
        Ok(Some(Self {
            host,
            secret,
            tls,
            concurrency,
            backlog,
            request_timeout,
            command_timeout,
            max_answer: max_answer.unwrap_or(defaults::RPC_MAX_ANSWER),
            max_receive,
            max_send,
            headers,
            cookies,
            disconnect,
        }))
    }

    /// The settings that result in an application, or in none, all set.
    pub(super) fn to_settings(it: Option<&Self>, settings: &mut ApplicationSettings) {
        let is_grpc = it.is_some_and(|it| matches!(it.host, RpcHost::Grpc(_)));
        let (secret, secret_file) = secret::split(it.and_then(|it| it.secret.as_ref()));
        let tls = it.and_then(|it| it.tls.as_ref());
        let mode = it.map_or(DisconnectMode::default(), |it| it.disconnect.mode);
        let rate = it.map_or(defaults::DISCONNECT_RATE, |it| it.disconnect.rate);
        let request = it.map_or(defaults::RPC_REQUEST_TIMEOUT, |it| it.request_timeout);
        let command = it.map_or(defaults::RPC_COMMAND_TIMEOUT, |it| it.command_timeout);
        *settings = ApplicationSettings {
            rpc_host: it.map(|it| it.host.to_string()),
            rpc_impl: it.map(|_| if is_grpc { RpcProtocol::Grpc } else { RpcProtocol::Http }),
            http_rpc_secret: secret,
            http_rpc_secret_file: secret_file,
            rpc_concurrency: Some(it.and_then(|it| it.concurrency).unwrap_or(0)),
            rpc_backlog: Some(it.map_or(defaults::RPC_BACKLOG, |it| it.backlog)),
            rpc_request_timeout: Some(HumanDuration(request)),
            rpc_command_timeout: Some(HumanDuration(command)),
            rpc_max_answer: Some(ByteSize(it.map_or(defaults::RPC_MAX_ANSWER, |it| it.max_answer))),
            rpc_max_call_recv_size: it.and_then(|it| it.max_receive).map(ByteSize),
            rpc_max_call_send_size: it.and_then(|it| it.max_send).map(ByteSize),
            rpc_enable_tls: Some(is_grpc && tls.is_some()),
            rpc_tls_verify: Some(tls.is_none_or(|tls| tls.verify)),
            rpc_tls_root_ca: tls.and_then(|tls| Some(tls.authorities.as_ref()?.0.clone())),
            headers: Some(it.map_or(defaults::HEADERS.to_owned(), |it| it.headers.join(","))),
            proxy_cookies: it.and_then(|it| Some(it.cookies.as_ref()?.join(","))),
            disconnect_mode: Some(mode),
            disconnect_rate: Some(rate.unwrap_or(0)),
            disconnect_delay: it
                .filter(|it| it.disconnect.at_once)
                .map(|_| HumanDuration(Duration::ZERO)),
        };
    }

    /// Maximum size of an answer over the protocol that is spoken.
    pub fn max_answer(&self) -> usize {
        self.max_receive.unwrap_or(self.max_answer)
    }
}

fn host(settings: &mut ApplicationSettings) -> Result<Option<RpcHost>, ApplicationError> {
    let given = settings.rpc_host.take();
    let given = given.filter(|host| !matches!(host.trim(), "" | "none"));
    let protocol = settings.rpc_impl.take();
    if protocol == Some(RpcProtocol::None) {
        return Ok(None);
    }
    let host: Option<RpcHost> = given.map(|text| text.parse()).transpose()?;
    match (protocol, &host) {
        (Some(_), None) => Err(ApplicationError::NoHost),
        (Some(RpcProtocol::Http), Some(RpcHost::Grpc(_))) => {
            Err(ApplicationError::NoUrl(host.map_or(String::new(), |host| host.to_string())))
        }
        (Some(RpcProtocol::Grpc), Some(RpcHost::Http(url))) => {
            Err(ApplicationError::Url(url.to_string()))
        }
        (Some(_) | None, _) => Ok(host),
    }
}

fn timeouts(settings: &ApplicationSettings) -> Result<(Duration, Duration), ConfigError> {
    let timeout = |setting, given: Option<HumanDuration>, default| {
        let min = (HumanDuration(MIN_TIMEOUT), "no application could answer in time");
        let max = (HumanDuration(MAX_TIMEOUT), "no client waits that long");
        bounded(setting, given.unwrap_or(HumanDuration(default)), min, max)
    };
    let (given, default) = (settings.rpc_command_timeout, defaults::RPC_COMMAND_TIMEOUT);
    let command = timeout("rpc-command-timeout", given, default)?;
    let default = defaults::RPC_REQUEST_TIMEOUT.min(command.0);
    let request = timeout("rpc-request-timeout", settings.rpc_request_timeout, default)?;
    if request > command {
        return Err(ApplicationError::RequestAboveCommand { request, command }.into());
    }
    Ok((request.0, command.0))
}

fn size(setting: &'static str, given: Option<ByteSize>) -> Option<Result<usize, ConfigError>> {
    let min = (ByteSize(MIN_SIZE), "a confirmation wouldn't fit");
    let max = (ByteSize(MAX_SIZE), "each call may take that much memory");
    Some(bounded(setting, given?, min, max).map(|size| size.0))
}

fn disconnect(settings: &ApplicationSettings) -> Result<DisconnectConfig, ConfigError> {
    let at_once = match settings.disconnect_delay {
        None => false,
        Some(delay) if delay.0.is_zero() => true,
        Some(delay) => return Err(ApplicationError::Delay(delay).into()),
    };
    let rate = match settings.disconnect_rate {
        None => defaults::DISCONNECT_RATE,
        Some(0) => None,
        Some(rate) => {
            let max = (MAX_CALLS, "no application hears that many; use 0 for any number");
            Some(bounded("disconnect-rate", rate, (1, "use 0 for any number"), max)?)
        }
    };
    let mode = settings.disconnect_mode.unwrap_or_default();
    Ok(DisconnectConfig { mode, rate, at_once })
}

fn tls(host: &RpcHost, settings: &mut ApplicationSettings) -> Result<Option<RpcTls>, ConfigError> {
    let is_enabled = settings.rpc_enable_tls.unwrap_or(false);
    let verify = settings.rpc_tls_verify.unwrap_or(true);
    let given = settings.rpc_tls_root_ca.take().filter(|given| !given.trim().is_empty());
    let is_spoken = match host {
        RpcHost::Http(_) if is_enabled => return Err(ApplicationError::TlsOfUrl.into()),
        RpcHost::Http(url) => url.is_https(),
        RpcHost::Grpc(_) => is_enabled,
    };
    if !is_spoken {
        return match given {
            Some(_) => Err(ApplicationError::NoTls { setting: AUTHORITIES }.into()),
            None => Ok(None),
        };
    }
    if !verify && given.is_some() {
        return Err(ApplicationError::UnusedAuthorities.into());
    }
    let authorities = given.map(authorities).transpose()?;
    Ok(Some(RpcTls { verify, authorities }))
}

/// Certificate authorities, from a file or as they are.
fn authorities(given: String) -> Result<(String, Vec<u8>), ConfigError> {
    if given.contains("-----BEGIN") {
        let pem = given.clone().into_bytes();
        certificates(AUTHORITIES, Path::new(""), &pem)
            .map_err(|_| ApplicationError::NoAuthorities)?;
        return Ok((given, pem));
    }
    let file = PathBuf::from(&given);
    let pem = read(AUTHORITIES, &file)?;
    certificates(AUTHORITIES, &file, &pem)?;
    Ok((given, pem))
}

/// Names with commas between them.
fn names(
    setting: &'static str,
    what: &'static str,
    text: &str,
) -> Result<Vec<String>, ApplicationError> {
    let is_name = |name: &str| name.parse::<HeaderName>().is_ok(); // both are tokens
    let each = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
    let bad = |name: &str| ApplicationError::Name { setting, what, name: name.to_owned() };
    each.map(|name| if is_name(name) { Ok(name.to_owned()) } else { Err(bad(name)) }).collect()
}

impl fmt::Debug for RpcTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.authorities.as_ref().map(|(given, _)| given);
        f.debug_struct("RpcTls").field("verify", &self.verify).field("authorities", &given).finish()
    }
}

/// An application of which all is said.
#[cfg(test)]
pub(super) fn full() -> [ApplicationConfig; 2] {
    ["https://h/x", "h:1"].map(|host| ApplicationConfig {
        host: host.parse().expect("a host"),
        secret: Some(Secret::from("s")),
        tls: Some(RpcTls { verify: true, authorities: Some(("f".to_owned(), Vec::new())) }),
        concurrency: Some(1),
        backlog: 1,
        request_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        max_answer: 2048,
        max_receive: Some(2048),
        max_send: Some(2048),
        headers: vec!["Cookie".to_owned()],
        cookies: Some(vec!["a".to_owned()]),
        disconnect: DisconnectConfig { mode: DisconnectMode::Always, rate: Some(1), at_once: true },
    })
}
