//! A complete JWT token server that can be made wrong on purpose.
//!
//! [`app`] prepares a server from a [`Config`]; [`serve()`] listens on 127.0.0.1; [`run`] is the whole program for [`ServeArgs`].
//!
//! # Endpoints
//! | request | body | answer |
//! |---|---|---|
//! | `POST /api/token/` | `{"username","password"}` | 200 `{"refresh","access"}`, 401 |
//! | `POST /api/token/refresh/` | `{"refresh"}` | 200 `{"refresh","access"}` (without rotation only `access`), 401 |
//! | `POST /api/token/verify/` | `{"token"}` | 200 `{}`, 401; access and refresh tokens |
//! | `POST /api/token/blacklist/` | `{"refresh"}` | 200 `{}`: the session has ended, with all its tokens; 401 |
//! | `POST /oauth/token` | form: `grant_type` password, client_credentials or refresh_token; `scope` | 200 with `access_token`, `refresh_token` and, with the scope `openid`, `id_token`; 400, 401 (RFC 6749) |
//! | `POST /oauth/introspect` | form: `token` | 200 `{"active": ..}` for confidential clients (RFC 7662) |
//! | `POST /oauth/revoke` | form: `token` | 200; a refresh token ends its session, an access token itself (RFC 7009) |
//! | `GET`, `POST /userinfo` | | 200 `{"sub"}` for a token with the scope `openid`, 401, 403 |
//! | `GET /.well-known/oauth-authorization-server`, `/.well-known/openid-configuration` | | where all this is; with the path of the issuer behind it too, where it has one (RFC 8414 section 3.1) |
//! | `GET /hello/` | | 200 `{"message","user","user_id","scope"}`, 401 |
//! | `GET /reports/` | | 200 for a token with the scope `write`, 403 `insufficient_scope`, 401 |
//! | `GET`, `PUT`, `DELETE /notes/{user}` | any text | a note of that user: 200, 204; 403 for another user's, 401 |
//! | `GET /.well-known/jwks.json` | | the public keys |
//! | `GET /healthz`, `/metrics`, `/openapi.json` | | 200; OpenMetrics (`--request-metrics` adds times by route); the description of all this |
//!
//! # Stores
//! `--store`, or `store:` in the configuration file: `memory`; `redb:FILE`; `postgres://..` with the feature `postgres`; `redis://..` with the
//! feature `redis`; or the name of a place where one of these stands, `env:NAME` or `file:PATH`. Each keeps the same promises: a used or
//! revoked token stays so, and of any number of simultaneous uses one wins. [`App::prepare`] reaches the store and says what is wrong with it.
//!
//! # Admin hooks
//! On a second port (`--admin-port`), all `POST` with a JSON body where none is named:
//!
//! | path | body | does |
//! |---|---|---|
//! | `/_ref/users/disable` | `{"user": "alice"}` | deactivates the user and ends all tokens |
//! | `/_ref/users/enable` | `{"user": "alice"}` | activates the user again |
//! | `/_ref/users/delete` | `{"user": "alice"}` | removes the user (back by `reset`) |
//! | `/_ref/users/demote` | `{"user": "alice", "scope": "read"}` | gives the user this scope; `read` where none is named |
//! | `/_ref/users/password` | `{"user": "alice", "password": "other"}` | changes the password and ends all tokens |
//! | `/_ref/keys/rotate` | `{"lead_s": 60}` or nothing | publishes a fresh key, and signs with it after that many seconds; older ones go on verifying |
//! | `/_ref/keys/retire` | `{"kid": "dev-rs256"}` or nothing | takes that key, or all but the signing one, out of use |
//! | `/_ref/clock` | `{"advance_s": 10}` or `{"offset_s": 0}` | moves the server's clock, or sets its distance from the true time |
//! | `/_ref/delay` | `{"ms": 50}` | delays every answer of the public port; 0 ends it |
//! | `/_ref/freeze` | `{"ms": 2000}` | answers nothing on the public port for so long |
//! | `GET /_ref/counters` | | what happened so far |
//! | `/_ref/verify-jws` | `{"jws": "a.b.c", "key": {"alg", "secret" or "pem" or "jwk", "kid"}}` | `{"valid": bool}`: form, header and signature only; the server's keys where `key` is left out |
//! | `/_ref/restart` | | what a restart does: users, keys, clock and whatever else lives in the process as at the start; what the store keeps elsewhere stays |
//! | `/_ref/reset` | | users, keys, clock, delays, counters and revocations as at the start |

mod admin;
mod algorithm;
mod app;
mod bearer;
mod body;
mod client;
mod clock;
mod config;
mod der;
mod flawed;
mod flaws;
mod intake;
mod keys;
mod listen;
mod material;
mod metrics;
mod notes;
mod oauth;
mod operation;
mod pace;
mod password;
mod reply;
mod resource;
mod ring;
mod scope;
mod sealing;
mod serve;
mod session;
mod settings;
mod simple;
mod slips;
mod stall;
mod state;
mod store;
mod throttle;
mod tls;
mod token;
mod users;
mod verify;

pub use algorithm::Algorithm;
pub use app::{App, app};
pub use client::ClientConfig;
pub use config::{Config, DEVELOPMENT_PASSWORD, KeyConfig, development_clients, development_users, duration};
pub use flaws::{Flaw, FlawId, FlawSet, UnknownFlaw, flaws};
pub use keys::KeyError;
pub use password::Hash;
pub use sealing::Encryption;
pub use serve::{ServeArgs, run, serve};
pub use state::StartError;
pub use store::{StoreArgument, StoreConfig, StoreUrl};
pub use users::UserConfig;
