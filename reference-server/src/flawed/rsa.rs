//! What is a signature raised to the public exponent? Plain and slow arithmetic, for the one mistake that needs it.

/// `base ^ exponent mod modulus`, all big-endian; the result has the modulus's length.
pub(super) fn raised(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    let n = limbs(modulus);
    let mut base = limbs(base);
    base.resize(n.len().max(base.len()), 0);
    // Longer than the modulus is no signature at all.
    if base.len() > n.len() || !less(&base, &n) {
        return vec![0xff; modulus.len()];
    }
    let mut result = limbs(&[1]);
    result.resize(n.len(), 0);
    for byte in exponent {
        for bit in (0..8).rev() {
            result = product(&result, &result, &n);
            if byte >> bit & 1 == 1 {
                result = product(&result, &base, &n);
            }
        }
    }
    let bytes: Vec<u8> = result.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    bytes[bytes.len() - modulus.len()..].to_vec()
}

/// Little-endian words.
fn limbs(bytes: &[u8]) -> Vec<u32> {
    bytes.rchunks(4).map(|chunk| chunk.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte))).collect()
}

fn less(a: &[u32], b: &[u32]) -> bool {
    a.iter().rev().cmp(b.iter().rev()).is_lt()
}

/// `a = a + b mod n`, for a and b below n.
fn add(a: &mut [u32], b: &[u32], n: &[u32]) {
    let mut carry = 0_u64;
    for (x, y) in a.iter_mut().zip(b) {
        let sum = u64::from(*x) + u64::from(*y) + carry;
        *x = sum as u32;
        carry = sum >> 32;
    }
    if carry == 1 || !less(a, n) {
        let mut borrow = 0_i64;
        for (x, y) in a.iter_mut().zip(n) {
            let difference = i64::from(*x) - i64::from(*y) - borrow;
            *x = difference as u32;
            borrow = i64::from(difference < 0);
        }
    }
}

/// Doubling and adding, bit by bit.
fn product(a: &[u32], b: &[u32], n: &[u32]) -> Vec<u32> {
    let mut result = vec![0; n.len()];
    for limb in b.iter().rev() {
        for bit in (0..32).rev() {
            let twin = result.clone();
            add(&mut result, &twin, n);
            if limb >> bit & 1 == 1 {
                add(&mut result, a, n);
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::raised;

    #[test]
    fn small_powers_come_out_right() {
        assert_eq!(
            raised(&[7], &[3], &[1, 0]),
            [1, 343_u16.to_be_bytes()[1]].map(|byte| if byte == 1 { 0 } else { byte })
        );
        assert_eq!(
            raised(&[2], &[1, 0], &[0xff, 0xf1]),
            (0..256).fold(1_u32, |x, _| x * 2 % 0xfff1).to_be_bytes()[2..]
        );
    }
}
