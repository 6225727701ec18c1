//! What is a point times a private key, wherever the point lies? Arithmetic of P-256 that never asks for its equation, for the
//! one mistake that needs it.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use num_bigint::BigUint;

/// A point in projective coordinates; the neutral element where the last is zero.
#[derive(Clone)]
struct Point {
    x: BigUint,
    y: BigUint,
    z: BigUint,
}

/// The prime of the field: 2^256 - 2^224 + 2^192 + 2^96 - 1.
fn prime() -> BigUint {
    let power = |bits: u32| BigUint::from(1_u8) << bits;
    power(256) - power(224) + power(192) + power(96) - 1_u8
}

/// The x coordinate of the product; `None` for the neutral element.
pub(super) fn multiplied(pkcs8: &[u8], x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let key = PrivateKey::from_private_key_der(&ECDH_P256, pkcs8).ok()?;
    let scalar = AsBigEndian::<EcPrivateKeyBin<'_>>::as_be_bytes(&key).ok()?;
    let p = prime();
    let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes) % &p;
    let point = Point { x: number(x), y: number(y), z: BigUint::from(1_u8) };
    let mut product = Point { x: BigUint::ZERO, y: BigUint::from(1_u8), z: BigUint::ZERO };
    for bit in scalar.as_ref().iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        product = doubled(&product, &p);
        if bit == 1 {
            product = sum(&product, &point, &p);
        }
    }
    if product.z == BigUint::ZERO {
        return None;
    }
    let x = &product.x * product.z.modpow(&(&p - 2_u8), &p) % &p;
    let bytes = x.to_bytes_be();
    Some([vec![0; 32_usize.checked_sub(bytes.len())?], bytes].concat())
}

/// `a - b`.
fn less(a: &BigUint, b: &BigUint, p: &BigUint) -> BigUint {
    (a + p - b % p) % p
}

/// With the curve's a of -3.
fn doubled(point: &Point, p: &BigUint) -> Point {
    let Point { x, y, z } = point;
    let w = less(&(x * x * 3_u8), &(z * z * 3_u8), p);
    let s = y * z % p;
    let b = x * y * &s % p;
    let h = less(&(&w * &w), &(&b * 8_u8), p);
    let tail = y * y % p * &s % p * &s * 8_u8;
    Point { x: &h * &s * 2_u8 % p, y: less(&(&w * less(&(&b * 4_u8), &h, p)), &tail, p), z: &s * &s * &s * 8_u8 % p }
}

fn sum(a: &Point, b: &Point, p: &BigUint) -> Point {
    if a.z == BigUint::ZERO {
        return b.clone();
    }
    if b.z == BigUint::ZERO {
        return a.clone();
    }
    let u = less(&(&b.y * &a.z), &(&a.y * &b.z), p);
    let v = less(&(&b.x * &a.z), &(&a.x * &b.z), p);
    if v == BigUint::ZERO {
        return if u == BigUint::ZERO {
            doubled(a, p)
        } else {
            Point { x: BigUint::ZERO, y: BigUint::from(1_u8), z: BigUint::ZERO }
        };
    }
    let (v2, z) = (&v * &v % p, &a.z * &b.z % p);
    let v3 = &v2 * &v % p;
    let kept = &v2 * &a.x % p * &b.z % p;
    let t = less(&less(&(&u * &u % p * &z), &v3, p), &(&kept * 2_u8), p);
    Point { x: &v * &t % p, y: less(&(&u * less(&kept, &t, p)), &(&v3 * &a.y % p * &b.z), p), z: &v3 * &z % p }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::agreement::{UnparsedPublicKey, agree};
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};

    use super::*;

    #[test]
    fn on_the_curve_the_product_is_what_the_library_agrees_on() {
        let [ours, theirs] = [(); 2].map(|()| PrivateKey::generate(&ECDH_P256).unwrap());
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&ours).unwrap();
        let point = theirs.compute_public_key().unwrap();
        let (x, y) = point.as_ref()[1..].split_at(32);
        let peer = UnparsedPublicKey::new(&ECDH_P256, point.as_ref());
        let shared = agree(&ours, peer, (), |shared| Ok(shared.to_vec())).unwrap();
        assert_eq!(multiplied(der.as_ref(), x, y), Some(shared));
    }

    #[test]
    fn a_point_of_order_two_is_itself_or_nothing() {
        let key = PrivateKey::generate(&ECDH_P256).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let product = multiplied(der.as_ref(), &[7; 32], &[0; 32]);
        assert!(product.is_none_or(|x| x == [7; 32]));
    }
}
