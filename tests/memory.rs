//! What there are many of stays small: bytes of each, by the numbers that `cargo bench --bench memory`
//! shows at a larger scale.

#[path = "../benches/support/memory.rs"]
mod memory;
#[path = "../benches/support/settings.rs"]
mod settings;

use memory::{Scale, Weight, outbox, parked_session};

/// As many in each stream as where there are a million, so that tables are as full.
const SCALE: Scale = Scale { streams: 10, each: 1000 };

#[test]
fn what_there_are_many_of_is_small() {
    let few = Scale { streams: 1000, each: 1 };
    for (what, weight, most) in [
        ("a stream", few.stream(), Weight { bytes: 2000.0, allocations: 10.0 }),
        ("a record that was put", SCALE.record(), Weight { bytes: 200.0, allocations: 2.0 }),
        ("a subscription", SCALE.subscription(), Weight { bytes: 200.0, allocations: 1.0 }),
        ("its record", SCALE.joined(), Weight { bytes: 225.0, allocations: 2.0 }),
        ("both, parked,", SCALE.parked(), Weight { bytes: 350.0, allocations: 2.0 }),
        ("an outbox", outbox(1000), Weight { bytes: 150.0, allocations: 2.0 }),
        ("a parked session", parked_session(1000), Weight { bytes: 450.0, allocations: 3.0 }),
    ] {
        let Weight { bytes, allocations } = weight;
        assert!(bytes <= most.bytes, "{what} takes {bytes:.0} bytes, more than {}", most.bytes);
        assert!(bytes > most.bytes / 2.0, "{what} takes {bytes:.0} bytes: lower its bound");
        assert!(allocations <= most.allocations, "{what} takes {allocations:.1} allocations");
    }
}
