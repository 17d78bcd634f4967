//! `node ctl zone dump`: every record in presentation format, which `node load` and other name servers read; in JSON one object a record.

use std::io::{self, ErrorKind, Write};

use dmp_node::control::Request;
use serde::Serialize;

use super::ctl::Target;
use crate::exit::{Exit, Failure};
use crate::report::{Format, line};
use crate::time::utc;

/// How a dump marks what the node stores and does not answer for.
const OUTSIDE: &str = "; outside the zone: ";

/// Prints the zone as it comes: it may be larger than memory.
pub(super) async fn dump(target: &Target, format: Format) -> Result<Exit, Failure> {
    let mut is_deserted = false;
    let mut print = |piece: &str| {
        let mut out = io::stdout().lock();
        let printed = match format {
            Format::Text => out.write_all(piece.as_bytes()),
            Format::Json => piece
                .lines()
                .filter_map(Record::read)
                .try_for_each(|record| {
                    out.write_all(line("dmp.node-record/1", &record).as_bytes())
                }),
        };
        is_deserted = matches!(&printed, Err(error) if error.kind() == ErrorKind::BrokenPipe);
        printed
    };
    let dumped = target.ask_at_length(Request::ZoneDump, &mut print).await;
    // A reader who has gone away wanted no more.
    if is_deserted {
        return Ok(Exit::Done);
    }
    dumped.map(|_| Exit::Done)
}

/// A line of the dump.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Record<'a> {
    owner: &'a str,
    ttl: u32,
    #[serde(rename = "type")]
    rtype: &'a str,
    data: &'a str,
    expires_at: Option<String>,
    in_zone: bool,
}

impl<'a> Record<'a> {
    /// Owner, TTL, class, type, data and, behind a semicolon, the time at which a stored value ends.
    fn read(text: &'a str) -> Option<Self> {
        let (in_zone, text) = match text.strip_prefix(OUTSIDE) {
            Some(text) => (false, text),
            None => (true, text),
        };
        let mut fields = text.splitn(5, ' ');
        let (owner, ttl) = (fields.next()?, fields.next()?.parse().ok()?);
        let (_, rtype, rest) = (fields.next()?, fields.next()?, fields.next()?);
        let (data, end) = match rest.rsplit_once(" ; expires ") {
            Some((data, end)) => (data, end.parse().ok()),
            None => (rest, None),
        };
        Some(Self {
            owner,
            ttl,
            rtype,
            data,
            expires_at: end.map(utc),
            in_zone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_dump_is_taken_apart() {
        let value = "a.mesh.test. 60 IN TXT \"v=dmp1; x\" \"y\" ; expires 951782400";
        let record = Record {
            owner: "a.mesh.test.",
            ttl: 60,
            rtype: "TXT",
            data: "\"v=dmp1; x\" \"y\"",
            expires_at: Some("2000-02-29T00:00:00Z".to_owned()),
            in_zone: true,
        };
        assert_eq!(Record::read(value), Some(record));
        let outside = format!("{OUTSIDE}{value}");
        assert_eq!(
            Record::read(&outside).map(|record| record.in_zone),
            Some(false)
        );
        let server = Record::read("mesh.test. 300 IN NS ns.test.").unwrap();
        assert_eq!(
            (server.rtype, server.data, server.expires_at),
            ("NS", "ns.test.", None)
        );
    }
}
