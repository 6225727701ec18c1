//! Which checks are there? One slice of families, each a slice of checks.

use std::sync::OnceLock;

use super::checks;
use super::descriptor::Check;

/// The families in the order of the catalogue.
const FAMILIES: &[&[Check]] = &[
    checks::issue::CHECKS,
    checks::issue_replies::CHECKS,
    checks::issue_refusal::CHECKS,
    checks::issue_tokens::CHECKS,
    checks::issue_secrets::CHECKS,
    checks::clients::ISSUE,
    checks::structure::CHECKS,
    checks::signature::CHECKS,
    checks::time::CHECKS,
    checks::time_spread::CHECKS,
    checks::types::CHECKS,
    checks::claim::CHECKS,
    checks::claim_rights::CHECKS,
    checks::refresh::CHECKS,
    checks::refresh_series::CHECKS,
    checks::sessions::CHECKS,
    checks::refresh_scope::CHECKS,
    checks::refresh_kept::CHECKS,
    checks::revoke::CHECKS,
    checks::revoke_reach::CHECKS,
    checks::revoke_request::CHECKS,
    checks::verify::CHECKS,
    checks::verify_fuzz::CHECKS,
    checks::clients::VERIFY,
    checks::introspection::CHECKS,
    checks::bearer::CHECKS,
    checks::bearer_identity::CHECKS,
    checks::keys::CHECKS,
    checks::discovery::CHECKS,
    checks::jwe::CHECKS,
    checks::dos::CHECKS,
    checks::leak::CHECKS,
    checks::proxy::CHECKS,
    checks::proxy_retry::CHECKS,
    checks::proxy_smuggle::CHECKS,
    checks::proxy_issuer::CHECKS,
];

/// Every check, in the order of the catalogue.
pub fn catalogue() -> &'static [&'static Check] {
    static ALL: OnceLock<Vec<&'static Check>> = OnceLock::new();
    ALL.get_or_init(|| FAMILIES.iter().flat_map(|family| family.iter()).collect())
}

/// The check of an id.
///
/// # Errors
/// With the nearest id as a hint.
pub fn find(id: &str) -> Result<&'static Check, String> {
    catalogue().iter().copied().find(|c| c.id == id).ok_or_else(|| {
        let near = catalogue().iter().map(|c| (strsim::damerau_levenshtein(id, c.id), c.id)).min();
        let hint = match near {
            Some((distance, near)) if distance <= 4 => format!("did you mean `{near}`"),
            _ => "`assay list checks` prints them".to_owned(),
        };
        format!("expected the id of a check, saw `{id}`; hint: {hint}")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_id_is_used_once_and_begins_with_its_group() {
        let mut seen = HashSet::new();
        for check in catalogue() {
            assert!(seen.insert(check.id), "{} twice", check.id);
            assert!(check.id.starts_with(&format!("{}-", check.group.to_ascii_lowercase())), "{}", check.id);
        }
    }

    #[test]
    fn every_check_is_described_for_the_person_whose_server_fails() {
        for check in catalogue() {
            for (what, text) in [
                ("requirement", check.requirement),
                ("sends", check.sends),
                ("why", check.why),
                ("remedy", check.remedy),
            ] {
                assert!(text.len() > 20, "{}: {what} says too little", check.id);
                assert!(!text.ends_with('.') || what != "requirement", "{}: {what} ends with a full stop", check.id);
            }
            assert!(!check.sources.is_empty(), "{} has no source", check.id);
        }
    }

    #[test]
    fn a_mistyped_id_is_met_with_the_nearest() {
        assert!(find("isue-basic").unwrap_err().contains("issue-basic"));
        assert!(find("nonsense-entirely").unwrap_err().contains("assay list checks"));
    }
}
