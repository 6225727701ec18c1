//! Does the server do over HTTP what it says it does?

mod client;
mod durable;
mod encrypted;
mod keys;
mod oauth;
mod operation;
mod process;
#[cfg(any(feature = "postgres", feature = "redis"))]
#[path = "../kit/services.rs"]
mod services;
mod stores;
mod storm;
