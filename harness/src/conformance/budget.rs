//! What does the thorough budget buy that the CI budget leaves out?

use super::descriptor::Check;
use super::select::CI_CHECK_S;

/// Checks that go further with the thorough budget, and how much.
const MORE: &[(&str, &str)] = &[
    ("issue-enum-timing", "up to 200 blocks of logins instead of 60, within twenty minutes"),
    ("issue-lifetime", "up to a minute for its 1,000 tokens instead of four seconds"),
    ("issue-unique-load", "100,000 tokens within two minutes instead of 10,000 within five seconds"),
    ("sig-confusion-recovered", "an RSA key with e = 65537 is computed from two tokens: minutes and 1.5 GB"),
    (
        "time-cached-verdict",
        "without the signing key: waits for tokens of up to an hour; leeways of up to five minutes",
    ),
    ("refresh-old-rejected", "a declared grace of up to ten minutes is waited out"),
    ("refresh-reuse-family", "a declared grace of up to ten minutes is waited out"),
    ("refresh-race", "50 rounds of 2, 8 and 32 copies instead of 10, 5 and 3"),
    ("refresh-chain", "1,000 refreshes in a row instead of 100"),
    ("refresh-vs-revoke", "50 rounds instead of a few"),
];

/// The same where the signing key is not known: with it nothing has to be waited for.
const MORE_UNKEYED: &[(&str, &str)] = &[
    ("time-exp-rejected", "waits for tokens of up to an hour, to five minutes past their end"),
    ("time-exp-leeway", "waits for tokens of up to an hour, to five minutes past their end"),
    ("time-exp-boundary", "waits for tokens of up to an hour"),
    ("time-exp-not-early", "waits for tokens of up to an hour"),
    ("time-cached-verdict", "waits for tokens of up to an hour"),
    ("time-refresh-exp", "waits for refresh tokens of up to an hour"),
];

/// What more the thorough budget does for a check of a server whose signing key is known or not; none where it changes
/// nothing.
pub fn more(check: &Check, keyed: bool) -> Option<String> {
    let of = |table: &[(&str, &str)]| table.iter().find(|(id, _)| *id == check.id).map(|(_, what)| (*what).to_owned());
    let table = of(MORE).or_else(|| of(MORE_UNKEYED).filter(|_| !keyed));
    let long = u64::from(check.cost.seconds) > CI_CHECK_S;
    table.or_else(|| long.then(|| format!("it runs at all: it takes about {} s", check.cost.seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{catalogue, find};

    #[test]
    fn every_row_names_a_check_and_long_checks_need_none() {
        for (id, what) in MORE.iter().chain(MORE_UNKEYED) {
            assert!(find(id).is_ok(), "{id}");
            assert!(what.len() > 20, "{id}: {what}");
        }
        for check in catalogue().iter().filter(|c| u64::from(c.cost.seconds) > CI_CHECK_S) {
            assert!(more(check, true).is_some(), "{}", check.id);
        }
    }
}
