//! The real binary and the files shipped with it.

mod config;
mod metrics;
mod stopping;
mod support;
