//! The cross-chunk code: any k of n shares of 128 bytes give the message back (crypto.md 8).
//! Authenticates nothing: which shares are genuine is the manifest's business.

use thiserror::Error;

use crate::gf256::{logarithm, power};
use crate::limits::{
    CODE_SHARES_MAX, LENGTH_PREFIX_LEN, MANIFEST_CHUNKS_MAX, OUTER_MAX, SHARE_LEN,
};

/// One erasure block.
pub type Share = [u8; SHARE_LEN];

/// How a message is cut: `k` shares suffice out of `n` (crypto.md 8.1); always 1 <= k <= n <= 1024.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodePlan {
    k: u16,
    n: u16,
}

/// Why shares cannot be made or joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CodeError {
    /// More shares than the field has points.
    #[error("{0} shares: the code has at most 256")]
    TooManyShares(u32),
    /// The message does not fit the plan, or any plan.
    #[error("{length} bytes do not fit: at most {limit}")]
    TooLong {
        /// Bytes to encode.
        length: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// Fewer than k shares.
    #[error("{held} of {needed} shares")]
    TooFewShares {
        /// Distinct shares given.
        held: usize,
        /// k of the plan.
        needed: u16,
    },
    /// A share number that the plan does not have, or that came twice.
    #[error("share {0} does not belong")]
    ShareIndex(u16),
    /// The length prefix claims more than the blocks hold.
    #[error("the length prefix exceeds the blocks")]
    LengthPrefix,
}

impl CodePlan {
    /// A plan as a manifest states it; `None` unless `1 <= k <= n <= 1024` (records.md 7).
    #[must_use]
    pub fn new(k: u32, n: u32) -> Option<Self> {
        if k == 0 || k > n || n > MANIFEST_CHUNKS_MAX {
            return None;
        }
        Some(Self {
            k: u16::try_from(k).ok()?,
            n: u16::try_from(n).ok()?,
        })
    }

    /// The plan of an outer message of `length` bytes (crypto.md 8.1).
    ///
    /// # Errors
    /// [`CodeError::TooLong`] above 25 084 bytes, which 255 shares hold.
    pub fn for_message_len(length: usize) -> Result<Self, CodeError> {
        let too_long = CodeError::TooLong {
            length,
            limit: OUTER_MAX,
        };
        if length > OUTER_MAX {
            return Err(too_long);
        }
        let k = (length + LENGTH_PREFIX_LEN).div_ceil(SHARE_LEN).max(1);
        u16::try_from(k)
            .map(Self::with_parity)
            .map_err(|_| too_long)
    }

    /// The plan that writers use for `k` data shares: 3 of parity for every 10 begun (crypto.md 8.1).
    pub(crate) const fn with_parity(k: u16) -> Self {
        Self {
            k,
            n: k + (3 * k).div_ceil(10),
        }
    }

    /// Shares that suffice.
    #[must_use]
    pub const fn k(self) -> u32 {
        self.k as u32
    }

    /// Shares that are published.
    #[must_use]
    pub const fn n(self) -> u32 {
        self.n as u32
    }

    /// Whether the field has enough points for `n` shares; a manifest that says otherwise is dropped (records.md 7).
    #[must_use]
    pub const fn is_decodable(self) -> bool {
        self.n <= CODE_SHARES_MAX
    }

    /// The longest message that fits, bytes.
    #[must_use]
    pub fn capacity(self) -> usize {
        usize::from(self.k) * SHARE_LEN - LENGTH_PREFIX_LEN
    }
}

/// Cuts `message` into `plan.n()` shares; the first `plan.k()` are `u32(length) || message || zeros`.
///
/// # Errors
/// [`CodeError::TooLong`] if it does not fit the plan, [`CodeError::TooManyShares`] above 256.
pub fn encode(plan: CodePlan, message: &[u8]) -> Result<Vec<Share>, CodeError> {
    if !plan.is_decodable() {
        return Err(CodeError::TooManyShares(plan.n()));
    }
    let too_long = CodeError::TooLong {
        length: message.len(),
        limit: plan.capacity(),
    };
    if message.len() > plan.capacity() {
        return Err(too_long);
    }
    let length = u32::try_from(message.len()).map_err(|_| too_long)?;
    let mut padded = Vec::with_capacity(usize::from(plan.k) * SHARE_LEN);
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(message);
    padded.resize(usize::from(plan.k) * SHARE_LEN, 0);
    let (blocks, _) = padded.as_chunks::<SHARE_LEN>();

    let mut shares = Vec::with_capacity(usize::from(plan.n));
    shares.extend_from_slice(blocks);
    let known: Vec<_> = (0..plan.k).map(point).zip(blocks).collect();
    let wanted: Vec<_> = (plan.k..plan.n).map(point).collect();
    shares.extend(interpolate(&known, &wanted));
    Ok(shares)
}

/// Joins the message from the `plan.k()` lowest-numbered of `shares`, in any order (crypto.md 8.3).
///
/// # Errors
/// Any [`CodeError`] but [`CodeError::TooLong`]. Nothing is allocated before k shares are there.
pub fn decode<'a>(
    plan: CodePlan,
    shares: impl IntoIterator<Item = (u16, &'a Share)>,
) -> Result<Vec<u8>, CodeError> {
    if !plan.is_decodable() {
        return Err(CodeError::TooManyShares(plan.n()));
    }
    let k = usize::from(plan.k);
    let mut shares: Vec<(u16, &Share)> = shares.into_iter().collect();
    shares.sort_unstable_by_key(|&(index, _)| index);
    let mut previous = None;
    for &(index, _) in &shares {
        if index >= plan.n || previous == Some(index) {
            return Err(CodeError::ShareIndex(index));
        }
        previous = Some(index);
    }
    if shares.len() < k {
        return Err(CodeError::TooFewShares {
            held: shares.len(),
            needed: plan.k,
        });
    }
    shares.truncate(k);

    let split = shares.partition_point(|&(index, _)| index < plan.k);
    let (data, _) = shares.split_at(split);
    let mut held = data.iter().peekable();
    let missing: Vec<u16> = (0..plan.k)
        .filter(|index| held.next_if(|(number, _)| number == index).is_none())
        .collect();
    let known: Vec<_> = shares
        .iter()
        .map(|&(index, share)| (point(index), share))
        .collect();
    let wanted: Vec<_> = missing.iter().copied().map(point).collect();
    let mut rebuilt = missing
        .into_iter()
        .zip(interpolate(&known, &wanted))
        .peekable();

    let mut padded = Vec::with_capacity(k * SHARE_LEN);
    let mut held = data.iter();
    for index in 0..plan.k {
        if let Some((_, share)) = rebuilt.next_if(|&(number, _)| number == index) {
            padded.extend_from_slice(&share);
        } else if let Some((_, share)) = held.next() {
            padded.extend_from_slice(*share);
        }
    }
    let (length, rest) = padded.split_first_chunk().ok_or(CodeError::LengthPrefix)?;
    let length =
        usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CodeError::LengthPrefix)?;
    rest.get(..length)
        .map(<[u8]>::to_vec)
        .ok_or(CodeError::LengthPrefix)
}

/// The evaluation point of a share: 0, then the powers of 2 (crypto.md 8.2). Distinct for indices 0 to 255.
fn point(index: u16) -> u8 {
    index
        .checked_sub(1)
        .map_or(0, |exponent| power(u32::from(exponent)))
}

/// The values at `wanted` of the polynomial of lowest degree through `known`; all points must differ (Lagrange).
fn interpolate(known: &[(u8, &Share)], wanted: &[u8]) -> Vec<Share> {
    // Products of differences as sums of logarithms: each coefficient is numerator / (difference * denominator).
    let numerators: Vec<u32> = wanted
        .iter()
        .map(|&target| log_product(known, target))
        .collect();
    let mut values = vec![[0; WORDS]; wanted.len()];
    if !wanted.is_empty() {
        for &(x, share) in known {
            let multiples = Multiples::of(share);
            let denominator = log_product(known, x);
            for ((value, &target), &numerator) in values.iter_mut().zip(wanted).zip(&numerators) {
                let divisor = (denominator + logarithm(target ^ x)) % 255;
                multiples.add_to(value, power(numerator + 255 - divisor));
            }
        }
    }
    values.iter().map(share_of).collect()
}

/// The logarithm, below 255, of the product of all non-zero differences between `x` and the known points.
fn log_product(known: &[(u8, &Share)], x: u8) -> u32 {
    // The table gives 0 for the zero difference: it drops out as a factor of 1.
    known
        .iter()
        .map(|&(other, _)| logarithm(x ^ other))
        .sum::<u32>()
        % 255
}

/// A share as machine words, so that one operation works on eight bytes or more.
type Words = [u64; WORDS];
const WORDS: usize = SHARE_LEN / 8;

/// All products of one share with the low and the high halves of a coefficient.
struct Multiples {
    low: [Words; 16],
    high: [Words; 16],
}

impl Multiples {
    fn of(share: &Share) -> Self {
        let mut power_of_two = words_of(share);
        let low = combinations(&mut power_of_two);
        let high = combinations(&mut power_of_two);
        Self { low, high }
    }

    /// `value += coefficient * share`.
    fn add_to(&self, value: &mut Words, coefficient: u8) {
        let halves = (
            self.low.get(usize::from(coefficient & 15)),
            self.high.get(usize::from(coefficient >> 4)),
        );
        if let (Some(low), Some(high)) = halves {
            for ((word, low), high) in value.iter_mut().zip(low).zip(high) {
                *word ^= low ^ high;
            }
        }
    }
}

/// The sums of the next four doublings of `share`, which advances past them.
fn combinations(share: &mut Words) -> [Words; 16] {
    let mut sums = [[0; WORDS]; 16];
    for bit in 0..4 {
        let (smaller, rest) = sums.split_at_mut(1 << bit);
        for (sum, without) in rest.iter_mut().zip(smaller) {
            for ((sum, without), word) in sum.iter_mut().zip(without).zip(share.iter()) {
                *sum = *without ^ word;
            }
        }
        double(share);
    }
    sums
}

/// Doubles each of the bytes: shift within the byte, then reduce those that overflowed.
fn double(words: &mut Words) {
    for word in words {
        let overflow = (*word >> 7) & 0x0101_0101_0101_0101;
        let reduction = overflow ^ (overflow << 2) ^ (overflow << 3) ^ (overflow << 4);
        *word = ((*word & 0x7f7f_7f7f_7f7f_7f7f) << 1) ^ reduction;
    }
}

fn words_of(share: &Share) -> Words {
    let mut words = [0; WORDS];
    let (chunks, _) = share.as_chunks::<8>();
    for (word, bytes) in words.iter_mut().zip(chunks) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

fn share_of(words: &Words) -> Share {
    let mut share = [0; SHARE_LEN];
    let (chunks, _) = share.as_chunks_mut::<8>();
    for (bytes, word) in chunks.iter_mut().zip(words) {
        *bytes = word.to_ne_bytes();
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gf256::{divide, multiply};

    /// Row `index` of the encoding matrix by the formula of crypto.md 8.2, factor by factor.
    fn coefficients(k: u16, index: u16) -> Vec<u8> {
        let x = point(index);
        (0..k)
            .map(|j| {
                (0..k).filter(|&m| m != j).fold(1, |product, m| {
                    multiply(product, divide(x ^ point(m), point(j) ^ point(m)))
                })
            })
            .collect()
    }

    #[test]
    fn interpolation_multiplies_by_the_lagrange_coefficients() {
        for (k, n) in [(1, 2), (2, 3), (3, 4), (10, 13), (42, 55), (255, 256)] {
            for unit in [0, k / 2, k - 1] {
                let mut blocks = vec![[0; SHARE_LEN]; usize::from(k)];
                blocks[usize::from(unit)][5] = 1;
                let known: Vec<_> = (0..k).map(point).zip(&blocks).collect();
                let wanted: Vec<_> = (k..n).map(point).collect();
                for (index, share) in (k..n).zip(interpolate(&known, &wanted)) {
                    assert_eq!(
                        share[5],
                        coefficients(k, index)[usize::from(unit)],
                        "({k}, {n}): {index}, {unit}"
                    );
                    assert_eq!(
                        share.iter().filter(|&&byte| byte != 0).count(),
                        usize::from(share[5] != 0)
                    );
                }
            }
        }
    }

    #[test]
    fn the_data_shares_of_an_encoding_are_the_padded_message() {
        let plan = CodePlan::for_message_len(200).unwrap();
        let shares = encode(plan, &[7; 200]).unwrap();
        let joined = shares[..2].concat();
        assert_eq!(joined[..4], [0, 0, 0, 200]);
        assert_eq!(joined[4..204], [7; 200]);
        assert_eq!(joined[204..], [0; 52]);
    }
}
