//! The page that says what proves which behaviour names tests that exist.

use std::path::Path;

#[test]
fn every_test_that_the_page_names_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(crates.join("dnsmesh/tests/README.md")).unwrap();
    let named: Vec<_> = page
        .split('`')
        .filter_map(|word| word.split_once(".rs::"))
        .collect();
    assert!(named.len() > 40, "{}", named.len());
    for (file, test) in named {
        let source = std::fs::read_to_string(crates.join(format!("{file}.rs")))
            .unwrap_or_else(|error| panic!("{file}.rs: {error}"));
        let declared = format!("fn {test}()");
        let at = source
            .find(&declared)
            .unwrap_or_else(|| panic!("{file}.rs has no {test}"));
        let before = source[..at].trim_end().trim_end_matches("async").trim_end();
        assert!(before.ends_with(']'), "{file}.rs: {test} is no test");
    }
}
