//! Key files of BIND: `key "name" { algorithm …; secret "…"; };`, as `tsig-keygen` writes and `nsupdate -k` reads them.
//!
//! Opens no file.

use zeroize::Zeroizing;

/// One key of a file. The secret is still base64.
pub(super) struct KeyStatement {
    pub(super) name: String,
    pub(super) algorithm: String,
    pub(super) secret: Zeroizing<String>,
}

/// The only key of a file, or the one with this name.
///
/// # Errors
/// What is missing, in words for the user; never a part of the text, which holds the secret.
pub(super) fn read_key(text: &str, wanted: Option<&str>) -> Result<KeyStatement, &'static str> {
    let same = |left: &str, right: &str| {
        let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        bare(left) == bare(right)
    };
    let mut words = words(text)?.into_iter();
    let mut found = None;
    while let Some(word) = words.next() {
        if !word.eq_ignore_ascii_case("key") {
            continue;
        }
        let name = words.next().ok_or("a key has no name")?;
        if words.next().as_deref().map(String::as_str) != Some("{") {
            return Err("the name of a key is not followed by `{`");
        }
        let (mut algorithm, mut secret) = (None, None);
        loop {
            let Some(word) = words.next() else {
                return Err("a key has no closing `}`");
            };
            match word.to_ascii_lowercase().as_str() {
                "}" => break,
                "algorithm" => algorithm = words.next(),
                "secret" => secret = words.next(),
                _ => {}
            }
        }
        if wanted.is_some_and(|wanted| !same(wanted, &name)) {
            continue;
        }
        if found.is_some() {
            return Err("it holds several keys; key_name says which one is meant");
        }
        found = Some(KeyStatement {
            name: name.to_string(),
            algorithm: algorithm.ok_or("the key states no algorithm")?.to_string(),
            secret: secret.ok_or("the key states no secret")?,
        });
    }
    found.ok_or("it holds no such key")
}

/// The words of named's configuration syntax: braces and quoted strings are words, semicolons and comments are not.
fn words(text: &str) -> Result<Vec<Zeroizing<String>>, &'static str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").ok_or("a comment has no end")?.1;
        } else if first == '#' || rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, behind)| behind);
        } else if first == '"' {
            let (word, behind) = rest[1..]
                .split_once('"')
                .ok_or("a quoted word has no end")?;
            words.push(Zeroizing::new(word.to_owned()));
            rest = behind;
        } else if first == ';' || first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else {
            let end = match rest
                .find(|c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}' | '"'))
            {
                Some(0) => first.len_utf8(),
                Some(end) => end,
                None => rest.len(),
            };
            let (word, behind) = rest.split_at(end);
            words.push(Zeroizing::new(word.to_owned()));
            rest = behind;
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# two keys\nkey \"a.test\" {\n\talgorithm hmac-sha256;\n\tsecret \"YWFh\"; // first\n};\n\
                       key b.test. { algorithm hmac-sha512; /* {no}; */ secret YmJi; };\n";

    #[test]
    fn a_key_is_found_by_its_name_or_by_being_the_only_one() {
        let key = read_key(TWO, Some("B.test")).ok().unwrap();
        assert_eq!(
            (
                key.name.as_str(),
                key.algorithm.as_str(),
                key.secret.as_str()
            ),
            ("b.test.", "hmac-sha512", "YmJi")
        );
        assert_eq!(*read_key(TWO, Some("a.test.")).ok().unwrap().secret, "YWFh");
        let one = TWO.split_once("key b").unwrap().0;
        assert_eq!(read_key(one, None).ok().unwrap().name, "a.test");
    }

    #[test]
    fn what_is_missing_is_said_without_the_secret() {
        let problem = |text: &str, wanted| read_key(text, wanted).err().unwrap();
        assert!(problem(TWO, None).contains("key_name"));
        assert!(problem(TWO, Some("c.test")).contains("no such key"));
        assert!(problem("key a { algorithm x; };", None).contains("no secret"));
        assert!(problem("key a { secret x; };", None).contains("no algorithm"));
        assert!(problem("key a { secret x;", None).contains("closing"));
        assert!(problem("key a secret", None).contains('{'));
        assert!(problem("key \"a", None).contains("no end"));
        assert!(problem("", None).contains("no such key"));
    }
}
