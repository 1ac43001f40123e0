//! Connecting to NATS: the one place that knows how.

use std::sync::Arc;

use async_nats::{Client, ConnectOptions, Event, ServerError};

use super::fault::{Fault, Speaker};
use super::link::{End, Link};
use super::names::ClusterNames;
use super::settings::NatsSettings;
use crate::engine::settings::EngineSettings;

/// The oldest version that has all that is used.
const OLDEST: (u16, u16) = (2, 9);

/// What a message must be able to have, in bytes.
const MIN_PAYLOAD: usize = 64 * 1024;

/// Makes connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    settings: NatsSettings,
    speaker: Speaker,
}

impl Connector {
    pub(super) fn new(settings: &EngineSettings, nats: &NatsSettings) -> Self {
        let speaker = Speaker {
            address: nats.address.clone(),
            is_encrypted: nats.is_encrypted(),
            shows_certificate: nats.client.is_some(),
            has_credentials: nats.credentials.is_some(),
            timeout: settings.timeout,
            prefix: ClusterNames::new(&settings.cluster).prefix().to_owned(),
        };
        Self { settings: nats.clone(), speaker }
    }

    /// Says what faults of its connections mean.
    pub(super) fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Makes a connection to one of the servers.
    pub(super) async fn connect(&self, number: u64) -> Result<Link, Fault> {
        let end = Arc::<End>::default();
        let mut options = self.options(Arc::clone(&end));
        if let Some(file) = &self.settings.credentials {
            let read = options.credentials_file(file).await;
            options = read.map_err(|error| Fault::Credentials(error.to_string()))?;
        }
        let client = options.connect(self.settings.servers.as_slice()).await?;
        check(&client)?;
        Ok(Link::new(number, client, end))
    }

    fn options(&self, end: Arc<End>) -> ConnectOptions {
        let timeout = self.speaker.timeout;
        let options = ConnectOptions::new()
            .name("broker")
            .connection_timeout(timeout)
            .request_timeout(Some(timeout))
            // each server is tried once; a connection that has failed isn't used any more, whatever becomes of it
            .max_reconnects(self.settings.servers.len())
            .ignore_discovered_servers()
            .event_callback(move |event| {
                if let Some(fault) = fault(event) {
                    end.report(fault);
                }
                std::future::ready(())
            });
        let NatsSettings { randomizes, authorities, client, .. } = &self.settings;
        let options = match authorities {
            Some(file) => options.add_root_certificates(file.clone()),
            None => options,
        };
        let options = match client {
            Some((certificate, key)) => {
                options.add_client_certificate(certificate.clone(), key.clone())
            }
            None => options,
        };
        let options = if *randomizes { options } else { options.retain_servers_order() };
        match self.settings.user.clone() {
            Some((user, Some(password))) => options.user_and_password(user, password),
            Some((token, None)) => options.token(token),
            None => options,
        }
    }
}

/// What an event ends a connection for.
fn fault(event: Event) -> Option<Fault> {
    match event {
        Event::Disconnected | Event::Closed => Some(Fault::Closed),
        Event::ServerError(ServerError::AuthorizationViolation) => Some(Fault::Unauthorized),
        Event::ServerError(ServerError::Other(text)) => Some(Fault::Refused(text)),
        // messages that are missing are noticed by their numbers
        Event::ServerError(ServerError::SlowConsumer(_))
        | Event::SlowConsumer(_)
        | Event::Connected
        | Event::LameDuckMode
        | Event::Draining
        | Event::ClientError(_) => None,
    }
}

/// Checks what the server says of itself.
fn check(client: &Client) -> Result<(), Fault> {
    let info = client.server_info();
    if !is_new_enough(&info.version) {
        return Err(Fault::Version(info.version));
    }
    if info.max_payload < MIN_PAYLOAD {
        return Err(Fault::MaxPayload(info.max_payload));
    }
    Ok(())
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u16>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_are_new_enough_will_do() {
        for version in ["2.9.10", "2.10.0-beta", "2.12.1", "10.0"] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in ["2.8.4", "1.9", "x", ""] {
            assert!(!is_new_enough(version), "{version}");
        }
    }
}
