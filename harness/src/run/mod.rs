//! In which order does a scenario happen?

mod vocabulary;

pub use vocabulary::{ReadScenario, open_scenario, read_scenario, vocabulary};
