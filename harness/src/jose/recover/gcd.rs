//! What is the greatest common divisor of two numbers of a hundred million bits?
//!
//! By half-gcd with differences (Moeller, "On Schoenhage's algorithm and subquadratic integer GCD
//! computation", 2008): the upper half of two numbers determines half of their quotients.

use std::sync::atomic::Ordering;

use num_bigint::BigUint;
use num_integer::Integer as _;

use super::ntt::{Roots, sums_of_products};

/// Products of more bits than this go through the transform.
const TRANSFORM_BITS: u64 = 100_000;
/// Numbers of fewer bits are left to the library's quadratic algorithm.
const SMALL_BITS: u64 = 2_000;
/// Two numbers that fit here are reduced in machine words.
const WORD_BITS: u64 = 126;

/// A matrix of determinant one that leads from reduced numbers back to the given ones.
struct Matrix {
    m: [BigUint; 4],
}

/// The same in machine words.
struct SmallMatrix([u64; 4]);

fn one() -> Matrix {
    Matrix { m: [1u32.into(), BigUint::ZERO, BigUint::ZERO, 1u32.into()] }
}

/// The greatest common divisor; zero where the work was ended early. `roots` must serve products of the size of
/// the numbers.
pub(super) fn gcd(mut a: BigUint, mut b: BigUint, roots: &Roots<'_>) -> BigUint {
    loop {
        if roots.cancel.load(Ordering::Relaxed) {
            return BigUint::ZERO;
        }
        if a < b {
            std::mem::swap(&mut a, &mut b);
        }
        if b.bits() < SMALL_BITS {
            if b == BigUint::ZERO {
                return a;
            }
            let rest = &a % &b;
            return b.gcd(&rest);
        }
        // Far apart: one division brings them together, at the price of a product.
        if a.bits() > b.bits() + 64 {
            let rest = remainder(&a, &b, roots);
            a = b;
            b = rest;
            continue;
        }
        let low = a.bits() / 3;
        match half(&(&a >> low), &(&b >> low), roots) {
            Some(matrix) => (a, b) = reduce(&matrix, &a, &b, roots),
            None => {
                let rest = remainder(&a, &b, roots);
                a = b;
                b = rest;
            }
        }
    }
}

/// `a mod b`. The quotients met are short, or the numbers are.
fn remainder(a: &BigUint, b: &BigUint, roots: &Roots<'_>) -> BigUint {
    let apart = a.bits().saturating_sub(b.bits());
    if apart < 4_000 || b.bits() < TRANSFORM_BITS {
        return a % b;
    }
    // Schoolbook in blocks: the library's division is quadratic, so its quotients are kept short.
    let mut rest = a.clone();
    while rest >= *b {
        let shift = rest.bits().saturating_sub(b.bits() + 2_000);
        let top = &rest >> shift;
        if top < *b {
            let quotient = &rest / b;
            return rest - product(&quotient, b, roots);
        }
        let quotient = &top / b;
        rest -= product(&quotient, b, roots) << shift;
    }
    rest
}

fn product(a: &BigUint, b: &BigUint, roots: &Roots<'_>) -> BigUint {
    if a.bits().min(b.bits()) * 4 > TRANSFORM_BITS
        && let Some(mut out) = sums_of_products(&[a, b], &[&[(0, 1, false)]], roots)
        && let Some(out) = out.pop()
    {
        return out;
    }
    a * b
}

/// `a^e` by squaring.
pub(super) fn power(base: &BigUint, exponent: u32, roots: &Roots<'_>) -> BigUint {
    let mut out: BigUint = 1u32.into();
    for bit in (0..32 - exponent.leading_zeros()).rev() {
        out = product(&out, &out, roots);
        if exponent >> bit & 1 == 1 {
            out = product(&out, base, roots);
        }
    }
    out
}

/// The numbers before the quotients in a matrix were put in.
fn reduce(matrix: &Matrix, a: &BigUint, b: &BigUint, roots: &Roots<'_>) -> (BigUint, BigUint) {
    let [p, q, r, s] = &matrix.m;
    if p.bits().max(q.bits()).max(r.bits()).max(s.bits()) + a.bits().max(b.bits()) > TRANSFORM_BITS {
        let first: &[(usize, usize, bool)] = &[(0, 4, false), (1, 5, true)];
        let second: &[(usize, usize, bool)] = &[(2, 5, false), (3, 4, true)];
        if let Some(out) = sums_of_products(&[s, q, p, r, a, b], &[first, second], roots)
            && let Ok([x, y]) = <[BigUint; 2]>::try_from(out)
        {
            return (x, y);
        }
    }
    (s * a - q * b, p * b - r * a)
}

fn compose(x: &Matrix, y: &Matrix, roots: &Roots<'_>) -> Matrix {
    let ([a, b, c, d], [e, f, g, h]) = (&x.m, &y.m);
    if x.m.iter().chain(&y.m).map(BigUint::bits).max().unwrap_or(0) * 2 > TRANSFORM_BITS {
        let sums: [&[(usize, usize, bool)]; 4] = [
            &[(0, 4, false), (1, 6, false)],
            &[(0, 5, false), (1, 7, false)],
            &[(2, 4, false), (3, 6, false)],
            &[(2, 5, false), (3, 7, false)],
        ];
        if let Some(out) = sums_of_products(&[a, b, c, d, e, f, g, h], &sums, roots)
            && let Ok(m) = <[BigUint; 4]>::try_from(out)
        {
            return Matrix { m };
        }
    }
    Matrix { m: [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h] }
}

fn difference(a: &BigUint, b: &BigUint) -> BigUint {
    if a > b { a - b } else { b - a }
}

/// One quotient taken out of the larger number, so that both keep more than `s` bits.
fn step(matrix: &mut Matrix, a: &mut BigUint, b: &mut BigUint, s: u64) {
    let a_is_larger = *a > *b;
    let (large, small) = if a_is_larger { (&mut *a, &*b) } else { (&mut *b, &*a) };
    let (mut quotient, mut rest) = large.div_rem(small);
    if rest.bits() <= s {
        quotient -= 1u32;
        rest += small;
    }
    *large = rest;
    let [p, q, r, t] = &mut matrix.m;
    if a_is_larger {
        *q += &quotient * &*p;
        *t += &quotient * &*r;
    } else {
        *p += &quotient * &*q;
        *r += &quotient * &*t;
    }
}

/// A matrix whose inverse halves the two numbers and keeps them above half their length. None where there is
/// nothing to take out.
fn half(a: &BigUint, b: &BigUint, roots: &Roots<'_>) -> Option<Matrix> {
    let n = a.bits().max(b.bits());
    if n <= WORD_BITS {
        return small_half(a, b);
    }
    let s = n / 2 + 1;
    // Ended early, every step is a right one still; there are just fewer of them.
    let stopped = || n > TRANSFORM_BITS && roots.cancel.load(Ordering::Relaxed);
    if stopped() {
        return None;
    }
    if a.bits().min(b.bits()) <= s || difference(a, b).bits() <= s {
        return None;
    }
    let (mut a, mut b) = (a.clone(), b.clone());
    let mut matrix = one();
    if a.bits().min(b.bits()) > 3 * n / 4 + 2 {
        let low = n / 2;
        if let Some(first) = half(&(&a >> low), &(&b >> low), roots) {
            (a, b) = reduce(&first, &a, &b, roots);
            matrix = first;
        }
    }
    while a.bits().max(b.bits()) > 3 * n / 4 + 1 && difference(&a, &b).bits() > s && !stopped() {
        step(&mut matrix, &mut a, &mut b, s);
    }
    if a.bits().min(b.bits()) > s + 2 {
        let left = a.bits().max(b.bits());
        let low = (2 * s + 1).saturating_sub(left);
        if let Some(second) = half(&(&a >> low), &(&b >> low), roots) {
            (a, b) = reduce(&second, &a, &b, roots);
            matrix = compose(&matrix, &second, roots);
        }
    }
    while difference(&a, &b).bits() > s && !stopped() {
        step(&mut matrix, &mut a, &mut b, s);
    }
    Some(matrix)
}

fn wide(number: &BigUint) -> u128 {
    number.iter_u64_digits().take(2).enumerate().fold(0, |sum, (at, digit)| sum | u128::from(digit) << (64 * at))
}

fn bits(number: u128) -> u32 {
    128 - number.leading_zeros()
}

/// [`half`] in machine words: the entries stay below 2^(n - s), so below 2^63.
fn small_half(a: &BigUint, b: &BigUint) -> Option<Matrix> {
    let SmallMatrix(m) = word_half(wide(a), wide(b))?;
    Some(Matrix { m: m.map(BigUint::from) })
}

fn word_half(mut a: u128, mut b: u128) -> Option<SmallMatrix> {
    let s = bits(a.max(b)) / 2 + 1;
    if bits(a.min(b)) <= s || bits(a.abs_diff(b)) <= s {
        return None;
    }
    let mut m = [1u64, 0, 0, 1];
    while bits(a.abs_diff(b)) > s {
        if a > b {
            let (quotient, rest) = quotient(a, b, s);
            a = rest;
            m[1] += quotient * m[0];
            m[3] += quotient * m[2];
        } else {
            let (quotient, rest) = quotient(b, a, s);
            b = rest;
            m[0] += quotient * m[1];
            m[2] += quotient * m[3];
        }
    }
    Some(SmallMatrix(m))
}

/// Most quotients are small: a few subtractions are cheaper than a division of 128 bits.
fn quotient(large: u128, small: u128, s: u32) -> (u64, u128) {
    let (mut quotient, mut rest) = (1, large - small);
    for _ in 0..3 {
        if rest < small {
            break;
        }
        rest -= small;
        quotient += 1;
    }
    if rest >= small {
        quotient += (rest / small) as u64;
        rest %= small;
    }
    if bits(rest) <= s {
        quotient -= 1;
        rest += small;
    }
    (quotient, rest)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn number(words: usize) -> BigUint {
        BigUint::new((0..words).map(|_| rand::random::<u32>() | 1).collect())
    }

    #[test]
    fn the_divisor_is_that_of_the_library() {
        let cancel = AtomicBool::new(false);
        let roots = Roots::for_bits(2_000_000, &cancel).unwrap();
        for (a, b, common) in [(5, 4, 3), (80, 80, 10), (300, 280, 64), (3000, 2990, 64), (900, 100, 64), (64, 64, 0)] {
            let common = number(common) + 1u32;
            let (a, b) = (number(a) * &common, number(b) * &common);
            assert_eq!(gcd(a.clone(), b.clone(), &roots), a.gcd(&b));
        }
    }

    #[test]
    fn a_matrix_takes_half_of_the_bits_and_keeps_the_divisor() {
        let cancel = AtomicBool::new(false);
        let roots = Roots::for_bits(1_000_000, &cancel).unwrap();
        for words in [2, 4, 10, 100, 2000] {
            let (a, b) = (number(words), number(words));
            let Some(matrix) = half(&a, &b, &roots) else { continue };
            let [p, q, r, s] = &matrix.m;
            assert_eq!(p * s - q * r, 1u32.into());
            let (x, y) = reduce(&matrix, &a, &b, &roots);
            assert_eq!((p * &x + q * &y, r * &x + s * &y), (a.clone(), b.clone()));
            assert!(x.bits() * 10 < a.bits() * 7, "{} of {}", x.bits(), a.bits());
        }
    }

    #[test]
    fn a_power_is_that_of_the_library() {
        let cancel = AtomicBool::new(false);
        let roots = Roots::for_bits(500_000, &cancel).unwrap();
        let base = number(40);
        for exponent in [1, 2, 3, 17, 257] {
            assert_eq!(power(&base, exponent, &roots), base.pow(exponent));
        }
    }
}
