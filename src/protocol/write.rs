//! Small pieces of JSON, appended.

use std::fmt::Arguments;
use std::io::Write as _;

/// Appends a text as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // a string always has a JSON form, and a vector takes every write
    drop(serde_json::to_writer(out, text));
}

/// Appends a formatted text as it is.
pub(super) fn append(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    drop(out.write_fmt(arguments)); // a vector takes every write
}
