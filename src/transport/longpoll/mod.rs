//! Phoenix's long polling.

mod frames;
mod pipe;
