//! How does one key travel under another: AES key wrap, AES-GCM, a password (RFC 7518 sections 4.4, 4.7 and 4.8)?

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::content::{BLOCK, Blocks};

/// What RFC 3394 section 2.2.3.1 puts before the key.
const CHECK: [u8; 8] = [0xa6; 8];

/// AES key wrap (RFC 3394 section 2.2.1). None where a length does not fit.
pub(super) fn wrap(kek: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let aes = Blocks::new(kek)?;
    let mut parts: Vec<[u8; 8]> = key.chunks(8).map(|part| part.try_into().ok()).collect::<Option<_>>()?;
    if parts.len() < 2 {
        return None;
    }
    let mut check = CHECK;
    for step in 1..=6 * parts.len() as u64 {
        let at = (step as usize - 1) % parts.len();
        let out = aes.encrypt(joined(check, parts[at]));
        let (first, second) = halves(out);
        check = counted(first, step);
        parts[at] = second;
    }
    Some([check].iter().chain(&parts).flatten().copied().collect())
}

/// Undoes [`wrap`]; none where the check does not come out.
pub(super) fn unwrap(kek: &[u8], wrapped: &[u8]) -> Option<Vec<u8>> {
    let aes = Blocks::new(kek)?;
    let mut parts: Vec<[u8; 8]> = wrapped.chunks(8).map(|part| part.try_into().ok()).collect::<Option<_>>()?;
    if parts.len() < 3 {
        return None;
    }
    let mut check = parts.remove(0);
    for step in (1..=6 * parts.len() as u64).rev() {
        let at = (step as usize - 1) % parts.len();
        let (first, second) = halves(aes.decrypt(joined(counted(check, step), parts[at])));
        check = first;
        parts[at] = second;
    }
    (check == CHECK).then(|| parts.concat())
}

fn joined(a: [u8; 8], b: [u8; 8]) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    out[..8].copy_from_slice(&a);
    out[8..].copy_from_slice(&b);
    out
}

fn halves(block: [u8; BLOCK]) -> ([u8; 8], [u8; 8]) {
    let (mut a, mut b) = ([0; 8], [0; 8]);
    a.copy_from_slice(&block[..8]);
    b.copy_from_slice(&block[8..]);
    (a, b)
}

fn counted(check: [u8; 8], step: u64) -> [u8; 8] {
    (u64::from_be_bytes(check) ^ step).to_be_bytes()
}

/// The Concat KDF of SP 800-56A with SHA-256 and the inputs of RFC 7518 section 4.6.2.
pub(super) fn concat_kdf(shared: &[u8], algorithm: &str, apu: &[u8], apv: &[u8], len: usize) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let info = [sized(algorithm.as_bytes()), sized(apu), sized(apv), (len as u32 * 8).to_be_bytes().to_vec()].concat();
    let mut out = Vec::new();
    for round in 1u32.. {
        out.extend(Sha256::new().chain_update(round.to_be_bytes()).chain_update(shared).chain_update(&info).finalize());
        if out.len() >= len {
            break;
        }
    }
    out.truncate(len);
    out
}

/// PBKDF2 with HMAC-SHA-256 for the 16 bytes of PBES2-HS256+A128KW (RFC 8018 section 5.2: one block, cut).
/// `salt` is the whole one: the algorithm's name, a zero byte, and `p2s` (RFC 7518 section 4.8.1.1).
pub(super) fn pbkdf2(password: &[u8], salt: &[u8], count: u32) -> Vec<u8> {
    let mac = |input: &[u8]| -> Vec<u8> {
        match Hmac::<Sha256>::new_from_slice(password) {
            Ok(mut mac) => {
                mac.update(input);
                mac.finalize().into_bytes().to_vec()
            }
            // HMAC takes keys of every length; the library's error cannot occur.
            Err(_) => Vec::new(),
        }
    };
    let mut round = mac(&[salt, &1_u32.to_be_bytes()].concat());
    let mut out = round.clone();
    for _ in 1..count {
        round = mac(&round);
        out.iter_mut().zip(&round).for_each(|(sum, byte)| *sum ^= byte);
    }
    out.truncate(16);
    out
}
