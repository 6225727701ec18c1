//! In which order does a scenario happen? Plan, launch, examine, drive, compare, judge, record.
//!
//! [`read_scenario`] turns a file into a [`ReadScenario`]; [`execute`] makes a [`Run`](crate::record::Run) of an
//! [`Ask`], telling a listener what happens. The record is saved after every step, so that whatever ends a run early
//! leaves what was seen until then.

mod arms;
mod ask;
mod compare;
mod drive;
mod environment;
mod error;
mod event;
mod execute;
mod exit;
mod plan;
mod preflight;
mod rounds;
mod schedule;
mod thresholds;
mod under_load;
mod vocabulary;

pub use ask::Ask;
pub use environment::environment;
pub use error::RunError;
pub use event::{Event, Listener};
pub use execute::{Executed, execute};
pub use plan::{Step, plan};
pub use preflight::preflight;
pub use schedule::{Arm, Design, design};
pub use vocabulary::{ReadScenario, open_scenario, read_scenario, vocabulary};
