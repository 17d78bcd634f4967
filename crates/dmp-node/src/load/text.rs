//! Master files as text (RFC 1035 5.1): entries with their tokens decoded, one at a time and in bounded memory.
//!
//! It knows owner, lifetime, class and type; what the rest of an entry means is its caller's business. Own code and not a
//! library's, because the comment at the end of an entry counts here: a zone dump says there when the value expires.

use std::io::{self, BufRead};

use crate::zone::Owner;

/// Octets of one entry at most, with its comments: what one name may hold, written with every octet escaped, fits.
const ENTRY_OCTETS: usize = 8 << 20;
/// Longest character-string (RFC 1035 3.3).
const STRING_OCTETS: usize = 255;
/// Types that stand in master files, so that a misspelt one is an error and no record of another type.
const TYPES: &[&str] = &[
    "A",
    "AAAA",
    "AFSDB",
    "APL",
    "AVC",
    "CAA",
    "CDNSKEY",
    "CDS",
    "CERT",
    "CNAME",
    "CSYNC",
    "DHCID",
    "DLV",
    "DNAME",
    "DNSKEY",
    "DS",
    "EUI48",
    "EUI64",
    "GPOS",
    "HINFO",
    "HIP",
    "HTTPS",
    "IPSECKEY",
    "ISDN",
    "KEY",
    "KX",
    "LOC",
    "MB",
    "MD",
    "MF",
    "MG",
    "MINFO",
    "MR",
    "MX",
    "NAPTR",
    "NS",
    "NSAP",
    "NSAP-PTR",
    "NSEC",
    "NSEC3",
    "NSEC3PARAM",
    "NULL",
    "NXT",
    "OPENPGPKEY",
    "PTR",
    "PX",
    "RESINFO",
    "RP",
    "RRSIG",
    "RT",
    "SIG",
    "SMIMEA",
    "SOA",
    "SPF",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
    "URI",
    "WKS",
    "X25",
    "ZONEMD",
];

const NO_OWNER: &str = "the first record has no owner name";

/// Reads entry by entry.
pub(super) struct Entries<R> {
    source: R,
    origin: Option<String>,
    default_ttl: Option<u64>,
    last_ttl: Option<u64>,
    last_owner: Option<Owner>,
    /// Line read last, from 1 on.
    line: u64,
    read: Vec<u8>,
    /// Octets of the tokens of the entry, escapes undone, one after the other.
    octets: Vec<u8>,
    tokens: Vec<Token>,
    comment: Vec<u8>,
}

/// One record.
pub(super) struct Entry<'a> {
    /// Line on which it ends.
    pub(super) line: u64,
    pub(super) owner: &'a Owner,
    /// Its TTL, or the one that holds for it; `None` when the file gives none.
    pub(super) ttl: Option<u64>,
    /// Upper case.
    pub(super) rtype: String,
    octets: &'a [u8],
    data: &'a [Token],
    comment: &'a [u8],
}

/// What stands before the data of a record.
struct Head {
    ttl: Option<u64>,
    rtype: String,
    /// Index of the first token of the data.
    data: usize,
}

/// Why a file is not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TextError {
    #[error("{what}")]
    Line { line: u64, what: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    end: usize,
    form: Form,
}

/// How a token was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Escaped,
    /// With a dot that separates no labels.
    EscapedDot,
    Quoted,
}

impl<R: BufRead> Entries<R> {
    /// Reads `source`; names without a dot at their end are under `origin` until the file says otherwise.
    pub(super) fn new(source: R, origin: Option<&Owner>) -> Self {
        Self {
            source,
            origin: origin.map(Owner::to_string),
            default_ttl: None,
            last_ttl: None,
            last_owner: None,
            line: 0,
            read: Vec::new(),
            octets: Vec::new(),
            tokens: Vec::new(),
            comment: Vec::new(),
        }
    }

    /// The next record; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'_>>, TextError> {
        let Some(Head { ttl, rtype, data }) = self.next_head()? else {
            return Ok(None);
        };
        let Some(owner) = &self.last_owner else {
            return Err(self.wrong(NO_OWNER));
        };
        Ok(Some(Entry {
            line: self.line,
            owner,
            ttl,
            rtype,
            octets: &self.octets,
            data: self.tokens.get(data..).unwrap_or_default(),
            comment: &self.comment,
        }))
    }

    fn next_head(&mut self) -> Result<Option<Head>, TextError> {
        while let Some(has_owner) = self.scan()? {
            let Some(&first) = self.tokens.first() else {
                continue;
            };
            match self.head(first, has_owner) {
                Ok(Some(head)) => return Ok(Some(head)),
                Ok(None) => {}
                Err(what) => return Err(self.wrong(&what)),
            }
        }
        Ok(None)
    }

    /// Everything before the data; `None` for a directive.
    fn head(&mut self, first: Token, has_owner: bool) -> Result<Option<Head>, String> {
        let mut at = 0;
        if has_owner {
            let text = self.text(first)?;
            if first.form == Form::Plain && text.starts_with('$') {
                let directive = text.to_ascii_uppercase();
                self.direct(&directive)?;
                return Ok(None);
            }
            self.last_owner = Some(self.owner(first)?);
            at = 1;
        } else if self.last_owner.is_none() {
            return Err(NO_OWNER.into());
        }
        let (mut ttl, mut class) = (None, None);
        loop {
            let Some(&token) = self.tokens.get(at) else {
                return Err("the record ends before its type".into());
            };
            at += 1;
            if token.form != Form::Plain {
                return Err("a type is expected here, not a string".into());
            }
            let word = self.text(token)?.to_ascii_uppercase();
            match (&*word, seconds(&word)) {
                ("IN" | "CLASS1", _) if class.is_none() => class = Some(()),
                ("CH" | "HS" | "CS", _) => return Err(format!("class {word}: only IN is served")),
                (_, Some(number)) if ttl.is_none() => ttl = Some(number),
                _ if is_type(&word) => {
                    self.last_ttl = ttl.or(self.last_ttl);
                    let ttl = ttl.or(self.default_ttl).or(self.last_ttl);
                    return Ok(Some(Head {
                        ttl,
                        rtype: word,
                        data: at,
                    }));
                }
                _ => return Err(format!("unknown type {word}")),
            }
        }
    }

    fn direct(&mut self, directive: &str) -> Result<(), String> {
        let &[_, argument] = &*self.tokens else {
            return Err(match directive {
                "$ORIGIN" | "$TTL" => format!("{directive} takes one argument"),
                _ => format!("{directive} is not supported"),
            });
        };
        match directive {
            "$ORIGIN" => {
                let name = self.full_name(argument)?;
                if !name.is_empty() {
                    Owner::parse(&name).map_err(|error| format!("{name}.: {error}"))?;
                }
                self.origin = Some(name);
            }
            "$TTL" => {
                let text = self.text(argument)?;
                let ttl = seconds(text).ok_or_else(|| format!("{text} is no TTL"))?;
                self.default_ttl = Some(ttl);
            }
            _ => return Err(format!("{directive} is not supported")),
        }
        Ok(())
    }

    fn owner(&self, token: Token) -> Result<Owner, String> {
        let name = self.full_name(token)?;
        Owner::parse(&name).map_err(|error| format!("{name}.: {error}"))
    }

    /// The name without its last dot; the root is empty.
    fn full_name(&self, token: Token) -> Result<String, String> {
        let text = self.text(token)?;
        match token.form {
            Form::Quoted => return Err("a name is expected here, not a string".into()),
            Form::EscapedDot => return Err(format!("{text}: a label holds a dot")),
            Form::Plain | Form::Escaped => {}
        }
        if let Some(absolute) = text.strip_suffix('.') {
            return Ok(absolute.into());
        }
        let Some(origin) = &self.origin else {
            return Err(format!("{text} is relative, and there is no $ORIGIN"));
        };
        Ok(match (text, token.form) {
            ("@", Form::Plain) => origin.clone(),
            _ if origin.is_empty() => text.into(),
            _ => format!("{text}.{origin}"),
        })
    }

    fn text(&self, token: Token) -> Result<&str, String> {
        std::str::from_utf8(octets(&self.octets, token))
            .map_err(|_| "a name or type is no text".into())
    }

    /// Reads the tokens of the next entry; whether it begins with an owner name, or `None` at the end of the file.
    fn scan(&mut self) -> Result<Option<bool>, TextError> {
        self.octets.clear();
        self.tokens.clear();
        self.comment.clear();
        let (mut depth, mut has_owner, mut size) = (0_u32, None, 0);
        loop {
            self.read.clear();
            // One octet more than is allowed tells a line that is too long from one that just fits.
            let room = (ENTRY_OCTETS - size + 1) as u64;
            size += io::Read::take(&mut self.source, room).read_until(b'\n', &mut self.read)?;
            if self.read.is_empty() {
                if depth > 0 {
                    return Err(self.wrong("a parenthesis is not closed"));
                }
                return Ok(None);
            }
            self.line += 1;
            if size > ENTRY_OCTETS {
                return Err(self.wrong("the record is longer than any value"));
            }
            has_owner = has_owner.or(Some(!matches!(self.read[0], b' ' | b'\t')));
            let read = std::mem::take(&mut self.read);
            let scanned = self.scan_line(&read, &mut depth);
            self.read = read;
            scanned.map_err(|what| self.wrong(what))?;
            if depth == 0 {
                return Ok(has_owner);
            }
        }
    }

    fn scan_line(&mut self, line: &[u8], depth: &mut u32) -> Result<(), &'static str> {
        let mut at = 0;
        while let Some(&octet) = line.get(at) {
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                b'(' => (*depth, at) = (*depth + 1, at + 1),
                b')' => {
                    let outer = depth.checked_sub(1);
                    (*depth, at) = (
                        outer.ok_or("a parenthesis is closed that was not opened")?,
                        at + 1,
                    );
                }
                b';' => {
                    self.comment.clear();
                    self.comment.extend_from_slice(&line[at + 1..]);
                    return Ok(());
                }
                b'"' => at = self.scan_token(line, at + 1, Form::Quoted)?,
                _ => at = self.scan_token(line, at, Form::Plain)?,
            }
        }
        Ok(())
    }

    /// Takes the token that begins at `at`; where the next one may begin.
    fn scan_token(
        &mut self,
        line: &[u8],
        mut at: usize,
        mut form: Form,
    ) -> Result<usize, &'static str> {
        let start = self.octets.len();
        let quoted = form == Form::Quoted;
        loop {
            let octet = match line.get(at) {
                Some(b'"') if quoted => {
                    at += 1;
                    break;
                }
                None | Some(b'\n') if quoted => return Err("a string is not closed on its line"),
                None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' | b'"')
                    if !quoted =>
                {
                    break;
                }
                Some(b'\\') => {
                    let (octet, length) = escaped(&line[at + 1..])?;
                    at += length;
                    form = match (form, octet) {
                        (Form::Quoted, _) => Form::Quoted,
                        (_, b'.') | (Form::EscapedDot, _) => Form::EscapedDot,
                        _ => Form::Escaped,
                    };
                    octet
                }
                Some(&octet) => octet,
                None => break,
            };
            self.octets.push(octet);
            at += 1;
        }
        self.tokens.push(Token {
            start,
            end: self.octets.len(),
            form,
        });
        Ok(at)
    }

    fn wrong(&self, what: &str) -> TextError {
        TextError::Line {
            line: self.line,
            what: what.into(),
        }
    }
}

impl Entry<'_> {
    /// The value of a TXT record: its strings joined.
    pub(super) fn value(&self) -> Result<String, String> {
        let mut value = Vec::new();
        for &token in self.data {
            let string = octets(self.octets, token);
            if string == b"#" && token.form == Form::Escaped && value.is_empty() {
                return Err("data in hexadecimal (RFC 3597) is not supported".into());
            }
            if string.len() > STRING_OCTETS {
                return Err(format!("a string is longer than {STRING_OCTETS} octets"));
            }
            value.extend_from_slice(string);
        }
        if self.data.is_empty() {
            return Err("TXT without a string".into());
        }
        String::from_utf8(value).map_err(|_| "the value is no UTF-8 text".into())
    }

    /// The serial of an SOA record.
    pub(super) fn serial(&self) -> Option<u32> {
        let token = self.data.get(2)?;
        std::str::from_utf8(octets(self.octets, *token))
            .ok()?
            .parse()
            .ok()
    }

    /// The second at which a zone dump says that the value expires.
    pub(super) fn expires_at(&self) -> Option<u64> {
        let comment = std::str::from_utf8(self.comment).ok()?;
        comment.trim().strip_prefix("expires ")?.parse().ok()
    }
}

fn octets(all: &[u8], token: Token) -> &[u8] {
    all.get(token.start..token.end).unwrap_or_default()
}

/// What stands behind a backslash, and how many octets of text it takes (RFC 1035 5.1: `\DDD` and `\X`).
fn escaped(text: &[u8]) -> Result<(u8, usize), &'static str> {
    match text {
        [b'0'..=b'9', rest @ ..] => {
            let digits = rest
                .first_chunk::<2>()
                .filter(|rest| rest.iter().all(u8::is_ascii_digit));
            let digits = digits.ok_or("a backslash before a digit takes three digits")?;
            let number = digits
                .iter()
                .fold(u16::from(text[0] - b'0'), |number, digit| {
                    number * 10 + u16::from(digit - b'0')
                });
            let octet = u8::try_from(number).map_err(|_| "an escaped octet is above 255")?;
            Ok((octet, 3))
        }
        [] | [b'\r' | b'\n', ..] => Err("a backslash ends the line"),
        [octet, ..] => Ok((*octet, 1)),
    }
}

/// A TTL: seconds, or numbers with the units w, d, h, m and s.
fn seconds(text: &str) -> Option<u64> {
    let (mut sum, mut number) = (0_u64, None::<u64>);
    for octet in text.bytes() {
        if octet.is_ascii_digit() {
            let digit = u64::from(octet - b'0');
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match octet.to_ascii_lowercase() {
            b'w' => 604_800,
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let seconds = match number {
        Some(number) => sum.checked_add(number)?,
        None if text.is_empty() => return None,
        None => sum,
    };
    (seconds <= u64::from(u32::MAX)).then_some(seconds) // 32 bits on the wire
}

/// Whether the upper-case word names a type (RFC 3597 5 for those without a name).
fn is_type(word: &str) -> bool {
    let number = word.strip_prefix("TYPE").map(str::parse::<u16>);
    TYPES.binary_search(&word).is_ok() || matches!(number, Some(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every record as `owner ttl type value`, or the error.
    fn read(text: &str) -> Result<Vec<String>, String> {
        let origin = Owner::parse("mesh.test").unwrap();
        let mut entries = Entries::new(text.as_bytes(), Some(&origin));
        let mut read = Vec::new();
        loop {
            match entries.next() {
                Ok(Some(entry)) => {
                    let value = match &*entry.rtype {
                        "TXT" => entry
                            .value()
                            .map_err(|what| format!("{}: {what}", entry.line))?,
                        _ => String::new(),
                    };
                    let ttl = entry.ttl.map_or("-".into(), |ttl| ttl.to_string());
                    read.push(format!("{} {ttl} {} {value}", entry.owner, entry.rtype));
                }
                Ok(None) => return Ok(read),
                Err(TextError::Line { line, what }) => return Err(format!("{line}: {what}")),
                Err(TextError::Io(error)) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn types_are_sorted_for_the_search() {
        assert!(TYPES.is_sorted());
    }

    #[test]
    fn owners_lifetimes_and_classes_are_inherited_and_come_in_any_order() {
        let text = "$TTL 1h\n\
            @ IN SOA ns1 hostmaster ( 1 ; serial\n 3600 600\n 604800 60 )\n\
            \x20 NS ns1\n\
            a 60 IN TXT one\n\
            \tIN 5m TXT two\n\
            \x20TXT three\n\
            B.Mesh.Test. TXT four\n\
            $ORIGIN c\n\
            @ TXT five\n\
            d in txt six\r\n\
            $ORIGIN .\n\
            e.mesh.test TXT seven";
        assert_eq!(
            read(text).unwrap(),
            [
                "mesh.test 3600 SOA ",
                "mesh.test 3600 NS ",
                "a.mesh.test 60 TXT one",
                "a.mesh.test 300 TXT two",
                "a.mesh.test 3600 TXT three",
                "b.mesh.test 3600 TXT four",
                "c.mesh.test 3600 TXT five",
                "d.c.mesh.test 3600 TXT six",
                "e.mesh.test 3600 TXT seven",
            ]
        );
        assert_eq!(
            read("a TXT x\nb 7 TXT y\nc TXT z").unwrap(),
            [
                "a.mesh.test - TXT x",
                "b.mesh.test 7 TXT y",
                "c.mesh.test 7 TXT z"
            ],
            "without $TTL the last one given holds (RFC 1035 5.1)"
        );
    }

    #[test]
    fn strings_are_joined_and_unescaped() {
        let value = |data: &str| {
            read(&format!("a 1 TXT {data}\n"))
                .map(|read| read[0]["a.mesh.test 1 TXT ".len()..].to_owned())
        };
        assert_eq!(value("\"\"").unwrap(), "");
        assert_eq!(
            value("\"a;b \\\"c\\\" \\\\\" plain\\;x ; comment").unwrap(),
            "a;b \"c\" \\plain;x"
        );
        assert_eq!(value("\"\\195\\188\\010\"").unwrap(), "ü\n");
        assert_eq!(
            value("( \"one\"\n  \"two\" ; with a ) comment\n )").unwrap(),
            "onetwo"
        );
        assert_eq!(value("a\"b\"c").unwrap(), "abc");
        let (long, longer) = ("x".repeat(255), "x".repeat(256));
        assert_eq!(value(&format!("{long} {long}")).unwrap().len(), 510);
        assert_eq!(
            value(&longer).unwrap_err(),
            "1: a string is longer than 255 octets"
        );
    }

    #[test]
    fn the_comment_of_a_dump_is_the_expiry() {
        let mut entries = Entries::new(
            &b"a. 1 TXT \"; expires 5\" ; expires 17\nb. 1 TXT x ; expires soon\n"[..],
            None,
        );
        assert_eq!(entries.next().unwrap().unwrap().expires_at(), Some(17));
        assert_eq!(entries.next().unwrap().unwrap().expires_at(), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            ("  TXT x", "1: the first record has no owner name"),
            ("\n\na 1 TXT \"x\n", "3: a string is not closed on its line"),
            ("a 1 TXT ( x\n\n", "2: a parenthesis is not closed"),
            (
                "a 1 TXT x )",
                "1: a parenthesis is closed that was not opened",
            ),
            (
                "a 1 TXT \\25",
                "1: a backslash before a digit takes three digits",
            ),
            ("a 1 TXT \\256", "1: an escaped octet is above 255"),
            ("a 1 TXT x\\", "1: a backslash ends the line"),
            ("a 1 TXT", "1: TXT without a string"),
            ("a 1 TXT \"\\255\"", "1: the value is no UTF-8 text"),
            (
                "a 1 TXT \\# 2 0161",
                "1: data in hexadecimal (RFC 3597) is not supported",
            ),
            ("a 1 IN", "1: the record ends before its type"),
            ("a 1 \"TXT\" x", "1: a type is expected here, not a string"),
            ("a CH TXT x", "1: class CH: only IN is served"),
            ("a 1 TXTT x", "1: unknown type TXTT"),
            ("a 1 2 TXT x", "1: unknown type 2"),
            ("a\\.b 1 TXT x", "1: a.b: a label holds a dot"),
            (
                "*.a 1 TXT x",
                "1: *.a.mesh.test.: the name holds an octet outside A-Z a-z 0-9 _ -",
            ),
            (
                ". 1 TXT x",
                "1: .: a label is empty or longer than 63 octets",
            ),
            ("$INCLUDE other.zone", "1: $INCLUDE is not supported"),
            ("$GENERATE 1-2 a TXT x", "1: $GENERATE is not supported"),
            (
                "$ORIGIN a..b.",
                "1: a..b.: a label is empty or longer than 63 octets",
            ),
            ("$TTL soon", "1: soon is no TTL"),
            ("$TTL", "1: $TTL takes one argument"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text:?}");
        }
        let mut entries = Entries::new(&b"a 1 TXT x"[..], None);
        assert_eq!(
            entries.next().err().unwrap().to_string(),
            "a is relative, and there is no $ORIGIN"
        );
    }

    #[test]
    fn lifetimes_are_seconds_or_have_units() {
        for (text, expected) in [
            ("60", Some(60)),
            ("1h30m", Some(5_400)),
            ("1W2D", Some(777_600)),
            ("1h5", Some(3_605)),
            ("4294967295", Some(4_294_967_295)),
            ("4294967296", None),
            ("99999999999999999999", None),
            ("h", None),
            ("", None),
            ("1y", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_record_without_end_costs_bounded_memory() {
        let endless = io::BufReader::new(io::Read::chain(&b"a 1 TXT \""[..], io::repeat(b'x')));
        let mut entries = Entries::new(endless, Owner::parse("mesh.test").as_ref().ok());
        let error = entries.next().err().unwrap();
        assert_eq!(error.to_string(), "the record is longer than any value");
    }
}
