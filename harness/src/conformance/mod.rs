//! Does the target do what it must? The catalogue of checks, and the engine that runs them.
//!
//! A check is a static [`Check`] in a family file under `checks/`; it is handed a [`Probe`] and tells it what it
//! saw. [`examine`] calibrates, runs what a [`Selection`] admits, and grades by [`record::grade`](crate::record::grade).
//! [`capsule`] keeps tokens from one run to the next; [`kill_matrix`] proves that every check can fail; [`forge`] makes the token of a finding again.

mod admin;
mod answer;
mod breaker;
mod budget;
mod calibrate;
pub mod capsule;
mod catalogue;
pub mod checks;
mod company;
mod crowd;
mod descriptor;
mod engine;
mod forge;
mod forger;
pub mod kill_matrix;
mod known;
mod listener;
mod measure;
mod outcome;
mod page;
mod probe;
mod reproduce;
mod select;
mod session;
mod texts;
pub mod window;

pub use answer::{Answer, Axis, challenges};
pub use budget::more;
pub use catalogue::{catalogue, find};
pub use crowd::Worker;
pub use descriptor::{Check, Cost, Isolation, Levels, Need, cost};
pub use engine::{Event, Examination, Findings, capabilities, deviations, examine};
pub use forge::{ForgeError, forge, forgeable};
pub use forger::{Forger, decode, fresh_id};
pub use known::{Deviation, Deviations, Listed};
pub use outcome::{EVIDENCE_LIMIT, Observation, Outcome, conclude, grade_rank};
pub use page::page;
pub use probe::{Control, Expect, Probe, Stop};
pub use reproduce::Escape;
pub use select::Selection;
pub use session::{FRESH_S, PATIENCE, Presented, Session, Way};
