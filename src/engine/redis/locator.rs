//! Finds out which server has which partitions: the one of the URL, the one that Sentinels name, or the masters of a
//! Redis Cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{ready, select_ok};
use futures_util::stream::FuturesUnordered;
use redis::{ConnectionInfo, Value, cmd, pipe};

use super::connector::Connector;
use super::fault::Fault;
use super::hello::Hello;
use super::keys::ClusterKeys;
use super::link;
use super::run::text;
use super::settings::host_of;
use super::topology::{Topology, View};

/// How long the other servers of a Redis Cluster have to answer when the first one has.
const GATHER: Duration = Duration::from_millis(200);

/// Finds out which server has which partitions.
#[derive(Debug)]
pub(super) struct Locator {
    connector: Connector,
    keys: ClusterKeys,
    partitions: u16,
    /// Whether the servers are a Redis Cluster, once that is known.
    is_cluster: Option<bool>,
    /// Servers that the last answer named.
    known: Vec<ConnectionInfo>,
}

impl Locator {
    pub(super) fn new(connector: Connector, keys: ClusterKeys, partitions: u16) -> Self {
        let settings = &connector.settings;
        let is_alone = !settings.sentinels().is_empty();
        let is_cluster = is_alone.then_some(false);
        Self { connector, keys, partitions, is_cluster, known: Vec::new() }
    }

    /// Which server has which partitions, as far as anybody answers.
    pub(super) async fn locate(&mut self) -> Result<Topology, Fault> {
        let settings = &self.connector.settings;
        if !settings.sentinels().is_empty() {
            let asked = settings.sentinels().iter().map(|it| Box::pin(self.ask_sentinel(it)));
            let ((host, port), _) = select_ok(asked).await?;
            return Ok(Topology::of_one(settings.server_at(&host, port), self.partitions));
        }
        let alone = Topology::of_one(settings.server(), self.partitions);
        if self.is_cluster == Some(false) {
            return Ok(alone);
        }
        let Some(view) = self.ask_servers().await? else {
            self.is_cluster = Some(false);
            return Ok(alone);
        };
        self.is_cluster = Some(true);
        let info = |(host, port): &(String, u16)| self.connector.settings.server_at(host, *port);
        self.known = view.places.iter().map(info).collect();
        let settings = &self.connector.settings;
        Ok(Topology::of_view(&view, &self.keys, self.partitions, settings))
    }

    /// What logs may say of all servers together.
    pub(super) fn address(&self) -> &str {
        self.connector.settings.address()
    }

    /// A connector to the server at a place.
    pub(super) fn connector(&self, place: &str) -> Connector {
        let connector = self.connector.clone();
        if self.is_cluster == Some(true) { connector.of_cluster(place) } else { connector }
    }

    /// The view of the server that has seen most of the Redis Cluster, among those that answer; `None`: it is a server
    /// alone.
    async fn ask_servers(&self) -> Result<Option<View>, Fault> {
        let servers = self.connector.settings.seeds().iter().chain(&self.known);
        let servers: BTreeMap<_, _> =
            servers.map(|info| (info.addr().to_string(), info.clone())).collect();
        let asked = servers.into_values().map(|info| Box::pin(self.ask_server(info)));
        let (first, others) = select_ok(asked).await?;
        let others = others.into_iter().collect::<FuturesUnordered<_>>();
        let others = others.take_until(tokio::time::sleep(GATHER));
        let others: Vec<_> = others.filter_map(|view| ready(view.ok())).collect().await;
        let views = others.into_iter().chain([first]);
        Ok(views.max_by_key(|view| view.as_ref().map(|view| view.epoch)).flatten())
    }

    async fn ask_server(&self, server: ConnectionInfo) -> Result<Option<View>, Fault> {
        let connection = self.connector.visit(&server).await?;
        let hello = Hello::read(&link::ask(&connection, &cmd("HELLO")).await?)?;
        let may_be_alone = self.is_cluster.is_none() && self.connector.settings.seeds().len() == 1;
        if hello.mode == "standalone" && may_be_alone {
            return Ok(None);
        } else if hello.mode != "cluster" {
            return Err(Fault::Mode(hello.mode));
        }
        let mut ask = pipe();
        ask.cmd("CLUSTER").arg("SLOTS").cmd("CLUSTER").arg("INFO");
        let answers = link::ask_all(&connection, &ask).await?;
        let [slots, info] = <[Value; 2]>::try_from(answers).map_err(|_| Fault::Unexpected)?;
        View::read(slots, &info, host_of(&server)).map(Some).ok_or(Fault::Unexpected)
    }

    /// Where a Sentinel says that the primary is.
    async fn ask_sentinel(&self, sentinel: &ConnectionInfo) -> Result<(String, u16), Fault> {
        let connection = self.connector.visit(sentinel).await?;
        let primary = self.connector.settings.primary();
        let mut ask = cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(primary);
        let Value::Array(place) = link::ask(&connection, &ask).await? else {
            return Err(Fault::UnknownPrimary(primary.to_owned()));
        };
        let [host, port] = &place[..] else { return Err(Fault::Unexpected) };
        let port = text(port).and_then(|port| port.parse().ok());
        let place = text(host).map(str::to_owned).zip(port);
        place.ok_or(Fault::Unexpected)
    }
}
