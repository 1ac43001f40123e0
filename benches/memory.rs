//! What things weigh that a broker has many of: bytes of each, counted as they are asked for.
//!
//! `cargo bench --bench memory`. The allocator's own are not in it: that is what rounding up takes,
//! 8 bytes or so for each allocation. `tests/memory.rs` holds the numbers to bounds.

#[path = "support/memory.rs"]
mod memory;

use memory::{Scale, Weight, outbox, parked_session};

fn main() {
    // a million of each
    let scale = Scale { streams: 1000, each: 1000 };
    show("", "bytes", "allocations");
    print("a stream with a record in it", Scale { streams: 100_000, each: 1 }.stream());
    print("a record that was put, beside its info", scale.record());
    print("a subscription", scale.subscription());
    print("its record, beside its info", scale.joined());
    print("what both take more once the connection has ended", scale.parked());
    print("an outbox, without its socket", outbox(100_000));
    print("a session of one subscription that is parked", parked_session(100_000));
}

fn print(what: &str, Weight { bytes, allocations }: Weight) {
    show(what, &format!("{bytes:.0}"), &format!("{allocations:.1}"));
}

#[expect(clippy::print_stdout, reason = "it is a program of the command line")]
fn show(what: &str, bytes: &str, allocations: &str) {
    println!("{what:<55}{bytes:>8}{allocations:>13}");
}
