//! What tests need of a server, whichever engine it is.

use std::time::Duration;

use crate::nats_server::NatsServer;
use crate::server::Server;

/// A server of a test's own. Killed when dropped.
pub(crate) trait EngineServer: Sized {
    /// Starts one that keeps nothing over a restart.
    fn launch() -> Self;
    /// Starts one that keeps everything.
    fn launch_durable() -> Self;
    fn url(&self) -> String;
    fn pid(&self) -> u32;
    /// Sends the process a signal.
    fn signal(&self, name: &str);
    /// Ends it at once, and starts it again after a time.
    fn restart(&mut self, after: Duration);
    /// Checks that this many nodes have each the connections that it has from its start.
    fn check_connections(&self, nodes: usize);
}

impl EngineServer for Server {
    fn launch() -> Self {
        Self::start(&[])
    }

    fn launch_durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    fn url(&self) -> String {
        self.url()
    }

    fn pid(&self) -> u32 {
        self.pid()
    }

    fn signal(&self, name: &str) {
        self.signal(name);
    }

    fn restart(&mut self, after: Duration) {
        self.restart(after);
    }

    fn check_connections(&self, nodes: usize) {
        let subscribed: String = self.ask("CLIENT LIST TYPE pubsub");
        assert_eq!(subscribed.lines().count(), nodes, "{subscribed}");
    }
}

impl EngineServer for NatsServer {
    fn launch() -> Self {
        Self::start("")
    }

    fn launch_durable() -> Self {
        Self::start_durable()
    }

    fn url(&self) -> String {
        self.url()
    }

    fn pid(&self) -> u32 {
        self.pid()
    }

    fn signal(&self, name: &str) {
        self.signal(name);
    }

    fn restart(&mut self, after: Duration) {
        self.restart(after);
    }

    fn check_connections(&self, nodes: usize) {
        let made = self.log().matches("Client connection created").count();
        // one by which the test saw that it has started; of a node, one to open the logs and one to follow them
        assert_eq!(made, 1 + 2 * nodes, "{}", self.log());
    }
}

/// Declares tests that hold for each engine.
macro_rules! for_each_engine {
    ($($test:ident),+ $(,)?) => {
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<crate::server::Server>().await;
            })+
        }

        mod on_nats {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<crate::nats_server::NatsServer>().await;
            })+
        }
    };
}
pub(crate) use for_each_engine;
