//! Is an encrypted token refused that was changed on its way?

use super::material::sealed;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::Stop;
use crate::jose::jwe::Jwe;

pub(super) const TAG: Check = Check {
    id: "jwe-tag",
    group: "JWE",
    requirement: "an encrypted token is refused whose tag, or whose encrypted key, is not whole",
    sources: &["RFC 7516 section 5.2", "RFC 7518 section 5.3", "CVE-2018-1000539", "CVE-2025-54887", "CVE-2026-34986"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &["cut-1", "cut-4", "cut-12", "empty", "flipped", "empty-key"],
    isolation: Isolation::Shared,
    cost: cost(35, 1),
    intrusive: false,
    flaws: &["short-tag", "unchecked-tag", "crash-empty-key"],
    sends: "a genuine encrypted token whose authentication tag lacks 1, 4 or 12 bytes, is empty, or has one bit turned; and one whose header says AES \
            key wrap while no key is there",
    why: "where only the bytes that came are compared, a tag of one byte is guessed in 256 attempts, and the content can be bent",
    remedy: "compare the tag's length with that of the algorithm before its bytes, and refuse a key that is too short to be unwrapped",
    run: |probe| {
        let sealed = sealed(probe)?;
        let whole = sealed.jwe.tag.clone();
        if whole.len() <= 12 {
            return Err(Stop::Inconclusive(format!("a genuine token has a tag of {} bytes", whole.len())));
        }
        let with = |tag: Vec<u8>| Jwe { tag, ..sealed.jwe.clone() }.token();
        for cut in [1, 4, 12] {
            probe.refuse(&format!("cut-{cut}"), &with(whole[..whole.len() - cut].to_vec()))?;
        }
        probe.refuse("empty", &with(Vec::new()))?;
        let mut flipped = whole;
        let at = usize::from(rand::random::<u16>()) % flipped.len();
        flipped[at] ^= 1;
        probe.refuse("flipped", &with(flipped))?;
        let mut keyless = Jwe { encrypted_key: Vec::new(), ..sealed.jwe.clone() };
        // Key agreement goes on to wrap a key; where a secret or RSA is used, wrapping under the secret does.
        let wrapping = if keyless.text("alg").starts_with("ECDH-ES") { "ECDH-ES+A256KW" } else { "A256KW" };
        if !keyless.text("alg").starts_with("RSA") {
            keyless.header.set_text("alg", &format!("\"{wrapping}\""));
        }
        probe.refuse("empty-key", &keyless.token())
    },
};
