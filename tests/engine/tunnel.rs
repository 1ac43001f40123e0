//! A way to a server that can be cut off.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port that leads to a server's, unless it is shut.
pub(crate) struct Tunnel {
    pub(crate) port: u16,
    is_open: watch::Sender<bool>,
}

impl Tunnel {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_open, opened) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut opened = opened.clone();
                tokio::spawn(async move {
                    if !*opened.borrow_and_update() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", server)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = opened.changed() => {}
                    }
                });
            }
        });
        Self { port, is_open }
    }

    /// Ends all connections, and lets none through any more.
    pub(crate) fn shut(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}
