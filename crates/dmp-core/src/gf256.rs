//! Arithmetic in GF(2^8) with polynomial 0x11d and generator 2, the field of both codes (crypto.md 8.2, 9).
//! Knows no code, block or share.

/// x^8 + x^4 + x^3 + x^2 + 1 without its leading term.
const POLYNOMIAL: u8 = 0x1d;
/// The number of non-zero elements: exponents count modulo this.
const ORDER: u32 = 255;

static EXPONENTIALS: [u8; 256] = exponentials();
static LOGARITHMS: [u8; 256] = logarithms();

/// 2 to the power of `exponent`.
pub(crate) fn power(exponent: u32) -> u8 {
    at(&EXPONENTIALS, low_byte(exponent % ORDER))
}

/// The exponent, 0 to 254, to which 2 gives `value`; 0 for the zero that has none.
pub(crate) fn logarithm(value: u8) -> u32 {
    u32::from(at(&LOGARITHMS, value))
}

/// Product of two elements.
pub(crate) fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        0
    } else {
        power(logarithm(a) + logarithm(b))
    }
}

/// `a / b`; 0 if `b` is zero, which no caller asks.
pub(crate) fn divide(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        0
    } else {
        power(logarithm(a) + ORDER - logarithm(b))
    }
}

/// Product of two elements without a table, for building tables at compile time.
pub(crate) const fn multiply_slowly(a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    let mut doubled = a;
    while b != 0 {
        if b & 1 == 1 {
            product ^= doubled;
        }
        doubled = double(doubled);
        b >>= 1;
    }
    product
}

const fn double(value: u8) -> u8 {
    (value << 1) ^ (POLYNOMIAL * (value >> 7))
}

const fn exponentials() -> [u8; 256] {
    let mut table = [0; 256];
    let mut rest = table.as_mut_slice();
    let mut value = 1;
    while let Some((entry, tail)) = rest.split_first_mut() {
        *entry = value;
        value = double(value);
        rest = tail;
    }
    table
}

const fn logarithms() -> [u8; 256] {
    let mut table = [0; 256];
    let (_, mut rest) = table.split_at_mut(1);
    let mut value: u8 = 1;
    while let Some((entry, tail)) = rest.split_first_mut() {
        let mut candidate = 1;
        while candidate != value {
            candidate = double(candidate);
            *entry += 1;
        }
        value = value.wrapping_add(1);
        rest = tail;
    }
    table
}

/// A table of 256 has an entry for every byte.
fn at(table: &[u8; 256], index: u8) -> u8 {
    table.get(usize::from(index)).copied().unwrap_or_default()
}

const fn low_byte(value: u32) -> u8 {
    (value & 0xff) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_agree_with_the_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply_slowly(a, b), "{a} * {b}");
                if b != 0 {
                    assert_eq!(divide(multiply(a, b), b), a, "{a} * {b} / {b}");
                }
            }
        }
    }

    #[test]
    fn every_non_zero_element_is_a_power_of_two() {
        let mut powers: Vec<u8> = (0..ORDER).map(power).collect();
        powers.sort_unstable();
        assert_eq!(powers, (1..=255).collect::<Vec<u8>>());
    }
}
