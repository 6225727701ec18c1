//! How are numbers of a hundred million bits multiplied in seconds?
//!
//! By a number-theoretic transform modulo p = 2^64 - 2^32 + 1 (Pollard 1971), whose multiplicative group has a
//! subgroup of order 2^32 and whose reduction needs no division.

use std::sync::atomic::AtomicBool;

use num_bigint::BigUint;

const P: u64 = 0xffff_ffff_0000_0001;
/// 2^64 modulo p.
const EPSILON: u64 = 0xffff_ffff;
/// 7 generates the group; this is 7^((p-1)/2^32), of order 2^32.
const ROOT_OF_2_32: u64 = 1_753_635_133_440_165_772;
/// Bits of a number in one coefficient: the sum of 2^23 products of two then stays below 2^63.
const DIGIT: usize = 20;
/// The longest transform: 2^24 coefficients are 128 MiB.
const LONGEST: u32 = 24;
/// Below this many coefficients a transform is not worth a second thread.
const WORTH_A_THREAD: usize = 1 << 15;
/// How often a transform is split over two threads: once, for two threads.
const SPLITS: u32 = 1;

fn add(a: u64, b: u64) -> u64 {
    let (sum, over) = a.overflowing_add(b);
    if over || sum >= P { sum.wrapping_sub(P) } else { sum }
}

fn sub(a: u64, b: u64) -> u64 {
    let (difference, under) = a.overflowing_sub(b);
    if under { difference.wrapping_add(P) } else { difference }
}

fn mul(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let (low, high) = (product as u64, (product >> 64) as u64);
    // 2^96 is -1 and 2^64 is EPSILON modulo p.
    let (mut t, under) = low.overflowing_sub(high >> 32);
    if under {
        t = t.wrapping_sub(EPSILON);
    }
    let (sum, over) = t.overflowing_add((high & EPSILON) * EPSILON);
    let sum = if over { sum.wrapping_add(EPSILON) } else { sum };
    if sum >= P { sum - P } else { sum }
}

fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut out = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            out = mul(out, base);
        }
        base = mul(base, base);
        exponent >>= 1;
    }
    out
}

/// The powers of the roots of unity, for every length up to a longest one: level `k` serves length `2^(k+1)`.
pub(super) struct Roots<'a> {
    /// Ends the work early.
    pub(super) cancel: &'a AtomicBool,
    forward: Vec<Vec<u64>>,
    backward: Vec<Vec<u64>>,
}

impl<'a> Roots<'a> {
    /// For products of up to so many bits. None where that is more than a transform can hold.
    pub(super) fn for_bits(bits: u64, cancel: &'a AtomicBool) -> Option<Roots<'a>> {
        let log = length_log(bits)?;
        let level = |k: u32, invert: bool| {
            let root = power(ROOT_OF_2_32, 1 << (32 - (k + 1)));
            let root = if invert { power(root, P - 2) } else { root };
            let mut powers = Vec::with_capacity(1 << k);
            let mut current = 1;
            for _ in 0..1u64 << k {
                powers.push(current);
                current = mul(current, root);
            }
            powers
        };
        Some(Roots {
            cancel,
            forward: (0..log).map(|k| level(k, false)).collect(),
            backward: (0..log).map(|k| level(k, true)).collect(),
        })
    }
}

fn length_log(bits: u64) -> Option<u32> {
    let digits = bits.div_ceil(DIGIT as u64) + 1;
    let log = digits.next_power_of_two().trailing_zeros().max(1);
    (log <= LONGEST).then_some(log)
}

/// Decimation in frequency: natural order in, reversed order out.
fn forward(a: &mut [u64], roots: &[Vec<u64>], splits: u32) {
    let (Some((level, rest)), true) = (roots.split_last(), a.len() > 1) else { return };
    let (low, high) = a.split_at_mut(a.len() / 2);
    for ((x, y), root) in low.iter_mut().zip(high.iter_mut()).zip(level) {
        let (u, v) = (*x, *y);
        *x = add(u, v);
        *y = mul(sub(u, v), *root);
    }
    both(low, high, splits, |half, splits| forward(half, rest, splits));
}

/// Decimation in time: reversed order in, natural order out; not yet divided by the length.
fn backward(a: &mut [u64], roots: &[Vec<u64>], splits: u32) {
    let (Some((level, rest)), true) = (roots.split_last(), a.len() > 1) else { return };
    let (low, high) = a.split_at_mut(a.len() / 2);
    both(low, high, splits, |half, splits| backward(half, rest, splits));
    for ((x, y), root) in low.iter_mut().zip(high.iter_mut()).zip(level) {
        let (u, v) = (*x, mul(*y, *root));
        *x = add(u, v);
        *y = sub(u, v);
    }
}

/// Two halves, side by side where that pays.
fn both(low: &mut [u64], high: &mut [u64], splits: u32, run: impl Fn(&mut [u64], u32) + Sync) {
    if splits == 0 || low.len() < WORTH_A_THREAD {
        run(low, 0);
        run(high, 0);
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| run(low, splits - 1));
        run(high, splits - 1);
    });
}

/// A number in the frequency domain.
struct Transformed(Vec<u64>);

fn transform(number: &BigUint, log: u32, roots: &Roots<'_>) -> Transformed {
    let mut digits = vec![0; 1 << log];
    let (mut held, mut bits, mut at) = (0u128, 0, 0);
    for limb in number.iter_u64_digits() {
        held |= u128::from(limb) << bits;
        bits += 64;
        while bits >= DIGIT {
            digits[at] = (held as u64) & ((1 << DIGIT) - 1);
            held >>= DIGIT;
            bits -= DIGIT;
            at += 1;
        }
    }
    if held > 0 {
        digits[at] = held as u64;
    }
    forward(&mut digits, &roots.forward[..log as usize], SPLITS);
    Transformed(digits)
}

/// Back to a number. Coefficients above p/2 are negative ones; the whole must not be.
fn restore(mut digits: Vec<u64>, log: u32, roots: &Roots<'_>) -> BigUint {
    backward(&mut digits, &roots.backward[..log as usize], SPLITS);
    let scale = power(1 << log, P - 2);
    let mut words: Vec<u32> = Vec::with_capacity(digits.len() * DIGIT / 32 + 4);
    let (mut carry, mut held, mut bits) = (0i128, 0u64, 0);
    let mut push = |digit: u64| {
        held |= digit << bits;
        bits += DIGIT;
        if bits >= 32 {
            words.push(held as u32);
            held >>= 32;
            bits -= 32;
        }
    };
    for digit in digits {
        let value = mul(digit, scale);
        carry += if value > P / 2 { i128::from(value) - i128::from(P) } else { i128::from(value) };
        push((carry & ((1 << DIGIT) - 1)) as u64);
        carry >>= DIGIT;
    }
    while carry > 0 {
        push((carry & ((1 << DIGIT) - 1)) as u64);
        carry >>= DIGIT;
    }
    push(0);
    push(0);
    BigUint::new(words)
}

/// Sums and differences of products, `sum of sign * left * right` each, with every factor transformed once.
/// `factors` are the numbers, `sums` lists `(left, right, negative)` by their places. A sum must not be below
/// zero.
pub(super) fn sums_of_products(
    factors: &[&BigUint],
    sums: &[&[(usize, usize, bool)]],
    roots: &Roots<'_>,
) -> Option<Vec<BigUint>> {
    let bits = |(l, r, _): &(usize, usize, bool)| factors[*l].bits() + factors[*r].bits();
    let most = sums.iter().flat_map(|s| s.iter().map(bits)).max().unwrap_or(0);
    let log = length_log(most + 2)?;
    if log as usize > roots.forward.len() {
        return None;
    }
    let transformed: Vec<Transformed> = factors.iter().map(|f| transform(f, log, roots)).collect();
    let out = sums.iter().map(|sum| {
        let mut total = vec![0; 1 << log];
        for (left, right, negative) in *sum {
            let pairs = transformed[*left].0.iter().zip(&transformed[*right].0);
            for (slot, (x, y)) in total.iter_mut().zip(pairs) {
                let product = mul(*x, *y);
                *slot = if *negative { sub(*slot, product) } else { add(*slot, product) };
            }
        }
        restore(total, log, roots)
    });
    Some(out.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(words: usize) -> BigUint {
        BigUint::new((0..words).map(|_| rand::random()).collect())
    }

    #[test]
    fn products_are_those_of_the_library() {
        let cancel = AtomicBool::new(false);
        let roots = Roots::for_bits(400_000, &cancel).unwrap();
        for (a, b, c, d) in [(1, 1, 1, 1), (40, 700, 3, 2), (3000, 3000, 2999, 2999), (1, 9000, 1, 8000)] {
            let all = [number(a) + 1u32, number(b), number(c), number(d)];
            let factors: Vec<&BigUint> = all.iter().collect();
            let [x, y, z, w] = &all;
            let sums: [&[(usize, usize, bool)]; 2] = [&[(0, 1, false)], &[(0, 1, false), (2, 3, false)]];
            let out = sums_of_products(&factors, &sums, &roots).unwrap();
            assert_eq!(out, [x * y, x * y + z * w]);
            let (more, less) = if x * y > z * w { ((0, 1), (2, 3)) } else { ((2, 3), (0, 1)) };
            let difference: [&[(usize, usize, bool)]; 1] = [&[(more.0, more.1, false), (less.0, less.1, true)]];
            let out = sums_of_products(&factors, &difference, &roots).unwrap();
            assert_eq!(out[0], &all[more.0] * &all[more.1] - &all[less.0] * &all[less.1]);
        }
    }

    #[test]
    fn the_field_is_the_one_it_says() {
        assert_eq!(power(7, (P - 1) >> 32), ROOT_OF_2_32);
        assert_eq!(power(ROOT_OF_2_32, 1 << 31), P - 1);
        assert_eq!(mul(P - 1, P - 1), 1);
    }
}
