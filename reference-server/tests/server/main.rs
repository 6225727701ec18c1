//! Does the server do over HTTP what it says it does?

mod client;
mod durable;
mod encrypted;
mod interop;
mod keys;
mod lasting;
mod oauth;
mod operation;
mod process;
#[path = "../kit/services.rs"]
mod services;
mod stores;
mod storm;
