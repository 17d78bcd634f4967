//! The in-chunk Reed-Solomon code: 128 bytes with 32 of parity, up to 16 wrong bytes repaired (crypto.md 9).
//! Knows neither checksums nor manifests.

use crate::gf256::{divide, logarithm, multiply, multiply_slowly, power};
use crate::limits::{SHARE_LEN, SHARE_PARITY_LEN as PARITY_LEN};

/// A share with its parity behind it.
pub(crate) type Codeword = [u8; SHARE_LEN + PARITY_LEN];

/// The product of (x - alpha^i) for i = 0..31, highest degree first, without the leading 1.
const GENERATOR: [u8; PARITY_LEN] = [
    0x74, 0x40, 0x34, 0xae, 0x36, 0x7e, 0x10, 0xc2, 0xa2, 0x21, 0x21, 0x9d, 0xb0, 0xc5, 0xe1, 0x0c,
    0x3b, 0x37, 0xfd, 0xe4, 0x94, 0x2f, 0xb3, 0xb9, 0x18, 0x8a, 0xfd, 0x14, 0x8e, 0x37, 0xac, 0x58,
];
/// Wrong bytes that can be repaired: half the parity.
const ERRORS_MAX: usize = PARITY_LEN / 2;

/// `GENERATOR` times every byte, the 32 coefficients as two big-endian words: one step of the division.
static FEEDBACK: [[u128; 2]; 256] = feedback();

/// A polynomial of degree at most 32, lowest degree first.
type Polynomial = [u8; PARITY_LEN + 1];
type Syndromes = [u8; PARITY_LEN];

/// The remainder of share(x) * x^32 by the generator, highest degree first.
pub(crate) fn parity(share: &[u8; SHARE_LEN]) -> [u8; PARITY_LEN] {
    let (mut high, mut low) = (0_u128, 0_u128);
    for &byte in share {
        let leading = (high >> 120) as u8 ^ byte;
        high = (high << 8) | (low >> 120);
        low <<= 8;
        if let Some([feedback_high, feedback_low]) = FEEDBACK.get(usize::from(leading)) {
            high ^= feedback_high;
            low ^= feedback_low;
        }
    }
    let mut parity = [0; PARITY_LEN];
    for (target, source) in parity
        .iter_mut()
        .zip(high.to_be_bytes().into_iter().chain(low.to_be_bytes()))
    {
        *target = source;
    }
    parity
}

/// Repairs up to 16 wrong bytes anywhere in `codeword`; `None` if there are more.
#[must_use]
pub(crate) fn correct(codeword: &Codeword) -> Option<Codeword> {
    // Far cheaper than the syndromes, and almost every codeword is whole.
    if is_whole(codeword) {
        return Some(*codeword);
    }
    let syndromes = syndromes(codeword);
    let (locator, errors) = error_locator(&syndromes);
    if errors > ERRORS_MAX {
        return None;
    }
    let evaluator = error_evaluator(&locator, &syndromes);
    let derivative = derivative(&locator);
    let mut corrected = *codeword;
    let mut found = 0;
    for (degree, byte) in (0..).zip(corrected.iter_mut().rev()) {
        let location = power(degree);
        let inverse = divide(1, location);
        if evaluate(&locator, inverse) == 0 {
            found += 1;
            // Forney's formula with first consecutive root 0.
            *byte ^= multiply(
                location,
                divide(
                    evaluate(&evaluator, inverse),
                    evaluate(&derivative, inverse),
                ),
            );
        }
    }
    // Roots outside the shortened code, or a locator that explains nothing, show themselves here.
    (found == errors && is_whole(&corrected)).then_some(corrected)
}

fn is_whole(codeword: &Codeword) -> bool {
    let (share, _) = codeword.split_first_chunk::<SHARE_LEN>().unzip();
    share.is_some_and(|share| codeword.ends_with(&parity(share)))
}

/// The codeword's values at the generator's 32 roots: all zero means no error.
fn syndromes(codeword: &Codeword) -> Syndromes {
    let mut syndromes = [0; PARITY_LEN];
    for (exponent, syndrome) in (0..).zip(&mut syndromes) {
        let root = logarithm(power(exponent));
        for &byte in codeword {
            *syndrome = byte
                ^ if *syndrome == 0 {
                    0
                } else {
                    power(logarithm(*syndrome) + root)
                };
        }
    }
    syndromes
}

/// Berlekamp and Massey: the shortest recurrence that gives the syndromes, and its length, the number of errors.
fn error_locator(syndromes: &Syndromes) -> (Polynomial, usize) {
    let mut locator: Polynomial = [0; PARITY_LEN + 1];
    if let Some(constant) = locator.first_mut() {
        *constant = 1;
    }
    let (mut previous, mut previous_discrepancy) = (locator, 1);
    let (mut length, mut shift) = (0, 1);
    for round in 0..PARITY_LEN {
        let discrepancy = sum_of_products(&locator, syndromes.iter().take(round + 1).rev());
        if discrepancy == 0 {
            shift += 1;
            continue;
        }
        let before = locator;
        let factor = divide(discrepancy, previous_discrepancy);
        for (target, &coefficient) in locator.iter_mut().skip(shift).zip(&previous) {
            *target ^= multiply(factor, coefficient);
        }
        if 2 * length <= round {
            length = round + 1 - length;
            (previous, previous_discrepancy, shift) = (before, discrepancy, 1);
        } else {
            shift += 1;
        }
    }
    (locator, length)
}

/// locator(x) * syndromes(x) modulo x^32.
fn error_evaluator(locator: &Polynomial, syndromes: &Syndromes) -> Polynomial {
    let mut evaluator = [0; PARITY_LEN + 1];
    for (degree, coefficient) in evaluator.iter_mut().take(PARITY_LEN).enumerate() {
        *coefficient = sum_of_products(locator, syndromes.iter().take(degree + 1).rev());
    }
    evaluator
}

/// The formal derivative: in characteristic 2 the odd coefficients, one degree lower.
fn derivative(polynomial: &Polynomial) -> Polynomial {
    let mut derivative = [0; PARITY_LEN + 1];
    for (target, &odd) in derivative
        .iter_mut()
        .step_by(2)
        .zip(polynomial.iter().skip(1).step_by(2))
    {
        *target = odd;
    }
    derivative
}

fn evaluate(polynomial: &Polynomial, x: u8) -> u8 {
    polynomial
        .iter()
        .rev()
        .fold(0, |value, &coefficient| multiply(value, x) ^ coefficient)
}

fn sum_of_products<'a>(left: &[u8], right: impl Iterator<Item = &'a u8>) -> u8 {
    left.iter()
        .zip(right)
        .fold(0, |sum, (&a, &b)| sum ^ multiply(a, b))
}

const fn feedback() -> [[u128; 2]; 256] {
    let mut table = [[0; 2]; 256];
    let mut rest = table.as_mut_slice();
    let mut factor: u8 = 0;
    while let Some(([high, low], tail)) = rest.split_first_mut() {
        let (first, second) = GENERATOR.split_at(16);
        *high = scaled(first, factor);
        *low = scaled(second, factor);
        factor = factor.wrapping_add(1);
        rest = tail;
    }
    table
}

const fn scaled(mut coefficients: &[u8], factor: u8) -> u128 {
    let mut word = 0;
    while let Some((coefficient, tail)) = coefficients.split_first() {
        word = (word << 8) | multiply_slowly(*coefficient, factor) as u128;
        coefficients = tail;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codeword(seed: u8) -> Codeword {
        let share: [u8; SHARE_LEN] =
            core::array::from_fn(|index| (index as u8).wrapping_mul(37).wrapping_add(seed));
        let mut codeword = [0; SHARE_LEN + PARITY_LEN];
        codeword[..SHARE_LEN].copy_from_slice(&share);
        codeword[SHARE_LEN..].copy_from_slice(&parity(&share));
        codeword
    }

    #[test]
    fn the_generator_is_the_product_over_the_first_32_powers() {
        let mut product = vec![1_u8];
        for exponent in 0..32 {
            let root = power(exponent);
            let mut next = product.clone();
            next.push(0);
            for (index, &coefficient) in product.iter().enumerate() {
                next[index + 1] ^= multiply(coefficient, root);
            }
            product = next;
        }
        assert_eq!(product[0], 1);
        assert_eq!(product[1..], GENERATOR);
    }

    #[test]
    fn a_codeword_has_no_syndromes() {
        assert_eq!(syndromes(&codeword(9)), [0; PARITY_LEN]);
    }

    #[test]
    fn sixteen_wrong_bytes_are_repaired_wherever_they_are() {
        let good = codeword(1);
        for start in 0..160 {
            for stride in [1, 7, 9] {
                let mut bad = good;
                for step in 0..16 {
                    bad[(start + step * stride) % 160] ^= (step + 1) as u8 ^ 0xa0;
                }
                assert_eq!(
                    correct(&bad),
                    Some(good),
                    "errors from {start}, {stride} apart"
                );
            }
        }
    }

    #[test]
    fn seventeen_wrong_bytes_are_refused_or_at_least_never_taken_for_the_original() {
        let good = codeword(2);
        let mut refused = 0;
        for start in 0..160 {
            let mut bad = good;
            for step in 0..17 {
                bad[(start + step * 3) % 160] ^= (step * 5 + 1) as u8;
            }
            let result = correct(&bad);
            assert_ne!(result, Some(good));
            refused += usize::from(result.is_none());
        }
        assert_eq!(refused, 160);
    }
}
