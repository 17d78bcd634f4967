//! One HTTP request over a connection of its own; any failure is an answer that did not come.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a node may take: far longer than a commit on a busy disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the request; status and JSON body of the answer.
pub(crate) fn request(
    node: SocketAddr,
    token: &str,
    method: &str,
    target: &str,
    body: Option<&Value>,
) -> Result<(u16, Value)> {
    let mut stream = TcpStream::connect_timeout(&node, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: {node}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cut = || Error::from(ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let json = serde_json::from_str(body).unwrap_or(Value::Null);
    Ok((status.ok_or_else(cut)?, json))
}
