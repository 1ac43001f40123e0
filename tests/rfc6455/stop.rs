//! The close handshake that the server begins, and the end of the process.

use std::time::Duration;

use crate::frame::{BINARY, TEXT, close, frame};
use crate::support::Broker;
use crate::wire::{Heard, Wire};

/// Stops the broker while connections are in the middle of things; each is closed with 1001.
pub(crate) fn ends_with_0(mut broker: Broker) {
    let begun = frame(TEXT, "never whole").bytes();
    let underway = frame(TEXT, "never whole").open().bytes();
    let mut clients: Vec<_> = [&[][..], &begun[..1], &begun[..9], &underway]
        .into_iter()
        .map(|bytes| {
            let mut wire = Wire::open(broker.port).unwrap();
            wire.send(bytes).unwrap();
            wire
        })
        .collect();
    let mut refused = Wire::open(broker.port).unwrap();
    refused.send(&frame(BINARY, "").bytes()).unwrap();
    assert_eq!(refused.hear(), Ok(Heard::Close(Some(1003))));
    assert_eq!(broker.status("/health"), 200);

    broker.signal("TERM");
    let why = r#"{"type":"disconnect","reason":"server_restart","reconnect":true}"#;
    for wire in &mut clients {
        assert_eq!(wire.hear(), Ok(Heard::Text(why.to_owned())));
        assert_eq!(wire.hear(), Ok(Heard::Close(Some(1001))));
    }
    // those within a frame can't close any more, and go
    for (wire, code) in [(&mut clients[0], 1001), (&mut refused, 1003)] {
        wire.send(&close(code, "").bytes()).unwrap();
        wire.ends().unwrap();
    }
    drop((clients, refused));
    assert_eq!(broker.wait(Duration::from_secs(10)), Some(0));
    let log = broker.log();
    assert!(!log.contains("panic"), "{log}");
}
