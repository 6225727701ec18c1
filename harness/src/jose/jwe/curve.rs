//! Which points are on no curve of the recipient, and what does a careless one agree on by them?
//!
//! The addition of points on `y² = x³ - 3x + b` never uses `b`: whoever multiplies a point without looking whether it is on
//! the curve works on another curve, of the sender's choice (Biehl, Meyer and Müller, CRYPTO 2000).

use num_bigint::BigUint;
use rand::CryptoRng;
use serde_json::{Value, json};

use super::super::algorithms::Curve;
use super::super::base64url;
use super::super::key::SigningKey;

/// An ephemeral key that is none, and what is agreed upon where nobody sees that.
#[derive(Clone, Debug)]
pub struct Stray {
    /// The `epk` header member.
    pub epk: Value,
    /// The x coordinate of the point times the recipient's private key.
    pub shared: Vec<u8>,
}

/// A point with coordinates of no meaning. None for keys without a curve of this kind.
pub fn off_curve(recipient: &SigningKey, rng: &mut dyn CryptoRng) -> Option<Stray> {
    let field = Field::of(recipient)?;
    // Nearly every pair of numbers is on no curve of the recipient.
    let point = (field.random(rng), field.random(rng));
    field.stray(recipient, &point)
}

/// A point that is the neutral element after one, two or three additions: whatever the recipient's key is, there are no
/// more than two results, so that each such token tells a part of it.
pub fn small_order(recipient: &SigningKey, rng: &mut dyn CryptoRng) -> Option<Stray> {
    let field = Field::of(recipient)?;
    // Order three where the tangent at the point meets it again: (3x² - 3)² = 12xy², with x = 3t² and so 12x = (6t)².
    let t = field.random(rng);
    let x = field.times(&BigUint::from(3_u8), &field.times(&t, &t));
    let slope = field.minus(&field.times(&BigUint::from(3_u8), &field.times(&x, &x)), &BigUint::from(3_u8));
    let y = field.times(&slope, &field.inverse(&field.times(&BigUint::from(6_u8), &t)));
    let third = field.stray(recipient, &(x.clone(), y));
    // A key that is a multiple of three gives the neutral element, which has no coordinates: then a point of order two.
    third.or_else(|| field.stray(recipient, &(x, BigUint::ZERO)))
}

type Point = (BigUint, BigUint);

struct Field {
    curve: Curve,
    p: BigUint,
}

impl Field {
    /// The primes of SP 800-186 section 3.2.1.
    fn of(key: &SigningKey) -> Option<Field> {
        let curve = key.verifying_key().curve()?;
        let one = BigUint::from(1_u8);
        let power = |bits: u32| &one << bits;
        let p = match curve {
            Curve::P256 => power(256) - power(224) + power(192) + power(96) - &one,
            Curve::P384 => power(384) - power(128) - power(96) + power(32) - &one,
            Curve::P521 => power(521) - &one,
            Curve::Ed25519 => return None,
        };
        Some(Field { curve, p })
    }

    fn random(&self, rng: &mut dyn CryptoRng) -> BigUint {
        let mut bytes = vec![0; self.curve.coordinate_len() + 8];
        rng.fill_bytes(&mut bytes);
        BigUint::from_bytes_be(&bytes) % &self.p
    }

    fn times(&self, a: &BigUint, b: &BigUint) -> BigUint {
        a * b % &self.p
    }

    fn minus(&self, a: &BigUint, b: &BigUint) -> BigUint {
        (a + &self.p - b % &self.p) % &self.p
    }

    /// By Fermat; zero for zero.
    fn inverse(&self, a: &BigUint) -> BigUint {
        a.modpow(&(&self.p - 2_u8), &self.p)
    }

    /// The sum of two points by the formulas of the curve, on whatever curve they are; none is the neutral element.
    fn sum(&self, a: Option<&Point>, b: Option<&Point>) -> Option<Point> {
        let (Some((ax, ay)), Some((bx, by))) = (a, b) else { return a.or(b).cloned() };
        let slope = if ax != bx {
            self.times(&self.minus(by, ay), &self.inverse(&self.minus(bx, ax)))
        } else if ay == by && *ay != BigUint::ZERO {
            let tangent = self.minus(&(BigUint::from(3_u8) * ax * ax), &BigUint::from(3_u8));
            self.times(&tangent, &self.inverse(&(ay + ay)))
        } else {
            return None;
        };
        let x = self.minus(&self.minus(&self.times(&slope, &slope), ax), bx);
        let y = self.minus(&self.times(&slope, &self.minus(ax, &x)), ay);
        Some((x, y))
    }

    fn multiple(&self, scalar: &[u8], point: &Point) -> Option<Point> {
        let mut out: Option<Point> = None;
        for bit in scalar.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
            out = self.sum(out.as_ref(), out.as_ref());
            if bit == 1 {
                out = self.sum(out.as_ref(), Some(point));
            }
        }
        out
    }

    /// A number as a coordinate is written.
    fn coordinate(&self, number: &BigUint) -> Vec<u8> {
        let bytes = number.to_bytes_be();
        [vec![0; self.curve.coordinate_len().saturating_sub(bytes.len())], bytes].concat()
    }

    fn stray(&self, recipient: &SigningKey, point: &Point) -> Option<Stray> {
        let jwk = recipient.to_jwk();
        let scalar = base64url::decode(jwk.get("d")?.as_str()?)?;
        let (x, _) = self.multiple(&scalar, point)?;
        let text = |number: &BigUint| base64url::encode(self.coordinate(number));
        let epk = json!({"kty": "EC", "crv": self.curve.name(), "x": text(&point.0), "y": text(&point.1)});
        Some(Stray { epk, shared: self.coordinate(&x) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{VerifyingKey, algorithm};

    #[test]
    fn the_arithmetic_is_that_of_the_curve_where_the_point_is_on_it() {
        let mut rng = rand::rng();
        for name in ["ES256", "ES384", "ES512"] {
            let [ours, theirs] = [(); 2].map(|()| SigningKey::generate(algorithm(name).unwrap(), &mut rng).unwrap());
            let field = Field::of(&ours).unwrap();
            let point = theirs.verifying_key().point().unwrap();
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            let point = (BigUint::from_bytes_be(x), BigUint::from_bytes_be(y));
            let shared = field.stray(&ours, &point).unwrap().shared;
            assert_eq!(Some(shared), super::super::agree(&ours, &theirs.verifying_key()), "{name}");
        }
    }

    #[test]
    fn stray_points_are_on_no_curve_and_one_of_small_order_gives_its_own_coordinate() {
        let mut rng = rand::rng();
        for _ in 0..8 {
            let key = SigningKey::generate(algorithm("ES256").unwrap(), &mut rng).unwrap();
            let stray = off_curve(&key, &mut rng).unwrap();
            assert!(VerifyingKey::from_jwk(&stray.epk).is_err());
            // One key in six has neither of the two.
            let Some(small) = small_order(&key, &mut rng) else { continue };
            assert!(VerifyingKey::from_jwk(&small.epk).is_err());
            assert_eq!(base64url::encode(&small.shared), small.epk["x"].as_str().unwrap());
        }
    }
}
