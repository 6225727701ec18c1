//! What may a token do? Scopes as RFC 6749 section 3.3 writes them: words between single spaces.

/// Scopes that stand for claims about the user, not for rights: any user may be asked for them.
pub(crate) const IDENTITY: &[&str] = &["openid", "profile", "offline_access"];

/// True where `scope` holds the word `wanted`.
pub(crate) fn has(scope: &str, wanted: &str) -> bool {
    scope.split(' ').any(|one| one == wanted)
}

/// True where every word is of the characters that RFC 6749 allows.
pub(crate) fn well_formed(scope: &str) -> bool {
    scope
        .split(' ')
        .all(|one| !one.is_empty() && one.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)))
}

fn allowed(rights: &str, one: &str) -> bool {
    IDENTITY.contains(&one) || has(rights, one)
}

/// What a first grant gives: `asked`, where all of it is among the rights (or tells about the user); all rights where nothing is asked.
pub(crate) fn granted(rights: &str, asked: Option<&str>) -> Option<String> {
    match asked {
        None => Some(rights.to_owned()),
        Some(asked) => {
            (well_formed(asked) && asked.split(' ').all(|one| allowed(rights, one))).then(|| asked.to_owned())
        }
    }
}

/// What a later grant gives: of what was granted first, what the rights still allow; less where less is asked, never more.
pub(crate) fn narrowed(granted: &str, rights: &str, asked: Option<&str>) -> Option<String> {
    let words = |text: &str| text.split(' ').filter(|one| allowed(rights, one)).collect::<Vec<_>>().join(" ");
    match asked {
        None => Some(words(granted)),
        Some(asked) if well_formed(asked) && asked.split(' ').all(|one| has(granted, one)) => Some(words(asked)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_may_ask_for_less_but_never_for_more() {
        assert_eq!(narrowed("read write", "read write", None).as_deref(), Some("read write"));
        assert_eq!(narrowed("read write", "read write", Some("read")).as_deref(), Some("read"));
        assert_eq!(narrowed("read", "read write", Some("read write")), None);
        assert_eq!(narrowed("read write", "read write", Some("rea")), None);
        assert_eq!(narrowed("read write", "read write", Some("")), None);
    }

    #[test]
    fn a_demoted_user_keeps_what_is_left_of_the_grant() {
        assert_eq!(narrowed("openid read write", "read", None).as_deref(), Some("openid read"));
        assert_eq!(narrowed("read write", "read", Some("read write")).as_deref(), Some("read"));
    }

    #[test]
    fn a_first_grant_gives_rights_and_identity_and_refuses_the_rest() {
        assert_eq!(granted("read", None).as_deref(), Some("read"));
        assert_eq!(granted("read", Some("openid read")).as_deref(), Some("openid read"));
        for refused in ["write", "read  read", " read", "READ", "read\"", ""] {
            assert_eq!(granted("read", Some(refused)), None, "{refused:?}");
        }
    }
}
