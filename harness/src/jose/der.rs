//! How are a few ASN.1 structures written and walked, without an ASN.1 library?
//!
//! Only what forging needs: a certificate's public key, a self-signed certificate, ECDSA in DER.

/// Content of a DER element and the rest after it; `None` where the length does not fit.
pub(super) fn take(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        (rest[..count].iter().fold(0usize, |n, b| n << 8 | usize::from(*b)), &rest[count..])
    };
    (rest.len() >= len).then(|| (tag, &rest[..len], &rest[len..]))
}

/// The SubjectPublicKeyInfo inside an X.509 certificate, as DER.
pub(super) fn certificate_spki(der: &[u8]) -> Option<Vec<u8>> {
    let (0x30, certificate, _) = take(der)? else { return None };
    let (0x30, mut tbs, _) = take(certificate)? else { return None };
    // version [0] is optional; then serial, algorithm, issuer, validity, subject.
    if tbs.first() == Some(&0xa0) {
        tbs = take(tbs)?.2;
    }
    for _ in 0..5 {
        tbs = take(tbs)?.2;
    }
    let rest = take(tbs)?.2;
    Some(tbs[..tbs.len() - rest.len()].to_vec())
}

/// One element: tag, length, content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = content.len();
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes: Vec<u8> = len.to_be_bytes().iter().copied().skip_while(|b| *b == 0).collect();
        out.push(0x80 | bytes.len() as u8);
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

/// A SEQUENCE of finished elements.
pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// An INTEGER from an unsigned big-endian number.
pub(super) fn integer(unsigned: &[u8]) -> Vec<u8> {
    let mut trimmed: Vec<u8> = unsigned.iter().copied().skip_while(|b| *b == 0).collect();
    if trimmed.first().is_none_or(|b| *b >= 0x80) {
        trimmed.insert(0, 0);
    }
    element(0x02, &trimmed)
}

/// A BIT STRING without unused bits.
pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0][..], bytes].concat())
}

/// A name of one common name: `CN=text`.
pub(super) fn common_name(text: &str) -> Vec<u8> {
    let attribute = sequence(&[vec![0x06, 0x03, 0x55, 0x04, 0x03], element(0x0c, text.as_bytes())]);
    sequence(&[element(0x31, &attribute)])
}

/// A PEM block: 64 columns, `\n`, with a newline at the end.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).unwrap_or_default());
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The first PEM block of a text: its label and its bytes. Text around the block is allowed.
pub(super) fn from_pem(text: &str) -> Option<(String, Vec<u8>)> {
    use base64::Engine as _;
    let begin = text.find("-----BEGIN ")?;
    let rest = &text[begin + 11..];
    let (label, rest) = rest.split_once("-----")?;
    let body = &rest[..rest.find(&format!("-----END {label}-----"))?];
    let packed: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(packed).ok()?;
    Some((label.to_owned(), der))
}
