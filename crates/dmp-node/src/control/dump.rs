//! The zone in presentation format (RFC 1035 5.1), as `named-checkzone` takes it.

use std::fmt::Write;

use rusqlite::{Connection, params};

use crate::settings::Settings;
use crate::zone::Owner;

/// Octets of text handed over at once.
const PIECE: usize = 64 * 1024;

/// Writes the zone piece by piece to `out`, which says whether to go on. Values outside the zone are comments.
pub(super) fn dump(
    sql: &Connection,
    settings: &Settings,
    serial: u32,
    now: u64,
    mut out: impl FnMut(String) -> bool,
) -> rusqlite::Result<u64> {
    let mut text = head(settings, serial);
    let mut statement = sql.prepare(
        "SELECT owner, value, expires_at, min(expires_at) OVER (PARTITION BY owner) FROM record
         WHERE expires_at > ?1 ORDER BY owner, id",
    )?;
    let mut rows = statement.query(params![now as i64])?;
    let mut values = 0;
    while let Some(row) = rows.next()? {
        let owner: String = row.get(0)?;
        let value: String = row.get(1)?;
        let (expires_at, first): (i64, i64) = (row.get(2)?, row.get(3)?);
        let zone = settings.zone.as_ref();
        let inside =
            zone.is_none_or(|zone| Owner::parse(&owner).is_ok_and(|owner| owner.is_under(zone)));
        let comment = if inside { "" } else { "; outside the zone: " };
        // As it is served: one TTL for the RRset, none beyond the life of its first value (node.md 2.4, RFC 2181 5.2).
        let left = first.saturating_sub(now as i64).max(1);
        let ttl = left.min(i64::from(settings.served_ttl));
        push(&mut text, format_args!("{comment}{owner}. {ttl} IN TXT"));
        strings(&mut text, value.as_bytes());
        push(&mut text, format_args!(" ; expires {expires_at}\n"));
        values += 1;
        if text.len() >= PIECE && !out(std::mem::take(&mut text)) {
            return Ok(values);
        }
    }
    out(text);
    Ok(values)
}

/// SOA, name servers and addresses, as the node answers them.
fn head(settings: &Settings, serial: u32) -> String {
    let mut text = String::new();
    let Some(zone) = &settings.zone else {
        return text;
    };
    let (apex, ttl) = (&settings.apex, settings.served_ttl);
    let primary = apex.ns.first().or(apex.hostname.as_ref()).unwrap_or(zone);
    let mailbox = apex
        .soa_rname
        .as_ref()
        .map_or_else(|| format!("hostmaster.{zone}"), Owner::to_string);
    push(
        &mut text,
        format_args!("{zone}. {ttl} IN SOA {primary}. {mailbox}. {serial} 3600 600 604800 {ttl}\n"),
    );
    let mut servers: Vec<&Owner> = apex.ns.iter().collect();
    if servers.is_empty() {
        servers.push(primary);
    }
    for server in servers {
        push(&mut text, format_args!("{zone}. {ttl} IN NS {server}.\n"));
    }
    if let Some(address) = apex.a {
        push(&mut text, format_args!("{zone}. {ttl} IN A {address}\n"));
    }
    if let Some(address) = apex.aaaa {
        push(&mut text, format_args!("{zone}. {ttl} IN AAAA {address}\n"));
    }
    text
}

/// The value as quoted strings of at most 255 octets, everything but plain ASCII as `\DDD`.
fn strings(text: &mut String, value: &[u8]) {
    let pieces = if value.is_empty() {
        vec![value]
    } else {
        value.chunks(255).collect()
    };
    for piece in pieces {
        text.push_str(" \"");
        for &octet in piece {
            match octet {
                b'"' | b'\\' => push(text, format_args!("\\{}", char::from(octet))),
                b' '..=b'~' => text.push(char::from(octet)),
                _ => push(text, format_args!("\\{octet:03}")),
            }
        }
        text.push('"');
    }
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(piece);
}

#[cfg(test)]
mod tests {
    use super::strings;

    #[test]
    fn values_are_quoted_split_and_escaped() {
        let quoted = |value: &[u8]| {
            let mut text = String::new();
            strings(&mut text, value);
            text
        };
        assert_eq!(quoted(b""), " \"\"");
        assert_eq!(quoted(b"a;b \"c\" \\"), " \"a;b \\\"c\\\" \\\\\"");
        assert_eq!(quoted("ü\n".as_bytes()), " \"\\195\\188\\010\"");
        let long = "x".repeat(300);
        assert_eq!(
            quoted(long.as_bytes()),
            format!(" \"{}\" \"{}\"", &long[..255], &long[255..])
        );
    }
}
