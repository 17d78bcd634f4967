//! Durations of the node admin command (node.md 8): ASCII digits with an optional unit `s`, `m`, `h`, `d` or `w`.

/// Seconds. Blanks around it are allowed, nothing else is; 0 is refused, because elsewhere it means "for ever".
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        Some(b'w') => 604_800,
        _ => 1,
    };
    let digits = text.trim_end_matches(['s', 'm', 'h', 'd', 'w']);
    let has_one_unit = text.len() - digits.len() <= 1;
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let seconds = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    seconds
        .filter(|seconds| has_one_unit && is_number && *seconds > 0)
        .ok_or_else(|| {
            "expected digits with an optional unit s, m, h, d or w, more than 0".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_are_those_of_the_vectors_but_zero_is_refused() {
        let text = include_str!("../../../../vectors/node_http_names.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = vectors["durations"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let expected = case["seconds"].as_u64().filter(|seconds| *seconds > 0);
            assert_eq!(parse(case["in"].as_str().unwrap()).ok(), expected, "{case}");
        }
        for wrong in [
            "5ss",
            "s",
            "99999999999999999999",
            "9999999999999999999w",
            "1 d",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
