//! How does a segment become bytes and back?

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, general_purpose};

/// Bytes to base64url without padding (RFC 7515 section 2).
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Strict: URL-safe alphabet only, no padding, no unused bits set, nothing else in the text.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// As forgiving as any server met: both alphabets, padding or none, unused bits, foreign characters skipped.
pub fn decode_lenient(text: &str) -> Vec<u8> {
    const FORGIVING: GeneralPurposeConfig = general_purpose::PAD
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);
    let clean: String = text
        .chars()
        .filter_map(|c| match c {
            '+' => Some('-'),
            '/' => Some('_'),
            c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect();
    // A single left-over character carries no byte.
    let keep = if clean.len() % 4 == 1 { clean.len() - 1 } else { clean.len() };
    ENGINE.decode(&clean[..keep]).unwrap_or_default()
}
