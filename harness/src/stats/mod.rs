//! What do the samples say, and how sure may one be? Pure statistics over histograms and pairs.
//!
//! | question | function |
//! |---|---|
//! | what is kept of a histogram | [`summarise`], [`decode`], [`merge`], [`censored_from`] |
//! | may this quantile be printed | [`printable`] |
//! | how large is a difference, and how sure is that | [`hodges_lehmann`], [`wilcoxon_interval`], [`ratio`] |
//! | what would have been seen, and what would it take | [`detectable`], [`pairs_needed`] |
//! | does it matter | [`margin_ns`], [`answer`] |
//! | how do two arms differ, whole | [`compare`], [`shift_function`], [`control`] |
//! | how do two stored runs differ | [`compare_stored`] |
//!
//! Requests are never pooled as independent samples: the unit is the pair of blocks.

mod compare;
mod histogram;
mod power;
mod rank;
mod shift;
mod stored;
#[cfg(test)]
mod tests;

pub use compare::{Block, CONFIDENCE, Design, Pair, answer, compare, control, margin_ns};
pub use histogram::{HistogramError, MIN_SAMPLES_ABOVE, censored_from, decode, merge, printable, summarise};
pub use power::{detectable, pairs_needed};
pub use rank::{Interval, hodges_lehmann, median, ratio, trend, wilcoxon_interval};
pub use shift::{SHIFT_QUANTILES, shift_function};
pub use stored::{StoredComparison, StoredFinding, compare_stored};
