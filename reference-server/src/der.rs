//! What is inside this DER? One element after the other; just enough for keys and certificates.

/// One element: its tag, its content, the whole of it, and what follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'d> {
    pub(crate) tag: u8,
    pub(crate) content: &'d [u8],
    pub(crate) whole: &'d [u8],
    pub(crate) rest: &'d [u8],
}

/// The first element of `der`; `None` where it is cut off.
pub(crate) fn element(der: &[u8]) -> Option<Element<'_>> {
    let (tag, first) = (*der.first()?, usize::from(*der.get(1)?));
    let (length, head) = if first < 0x80 {
        (first, 2)
    } else {
        let bytes = der.get(2..2 + (first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
    };
    let whole = der.get(..head.checked_add(length)?)?;
    Some(Element { tag, content: &whole[head..], whole, rest: &der[head + length..] })
}

/// Modulus and exponent of a PKCS#1 RSAPublicKey, without leading zeros.
pub(crate) fn rsa_public(pkcs1: &[u8]) -> Option<(&[u8], &[u8])> {
    let modulus = element(element(pkcs1)?.content)?;
    let exponent = element(modulus.rest)?;
    let bare = |bytes: &[u8]| bytes.iter().take_while(|byte| **byte == 0).count();
    Some((&modulus.content[bare(modulus.content)..], &exponent.content[bare(exponent.content)..]))
}

/// The SubjectPublicKeyInfo of an X.509 certificate (RFC 5280 section 4.1).
pub(crate) fn certificate_key(certificate: &[u8]) -> Option<&[u8]> {
    let mut rest = element(element(certificate)?.content)?.content;
    // version [0], where present; then serial, signature, issuer, validity, subject.
    if element(rest)?.tag == 0xa0 {
        rest = element(rest)?.rest;
    }
    for _ in 0..5 {
        rest = element(rest)?.rest;
    }
    Some(element(rest)?.whole)
}
