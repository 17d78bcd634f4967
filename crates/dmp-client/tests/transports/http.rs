//! The bearer writer: exact status codes, the node's own words, and a token that never leaves its origin.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use dmp_client::error::WriteError;
use dmp_client::mesh::{Operation, Writer};
use dmp_client::writer::HttpWriter;
use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, heartbeat_owner};

/// One request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    authorization: Option<String>,
    body: String,
}

/// Answers each request with the next of the given responses.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn start(responses: Vec<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for (status, body) in responses {
                let (stream, _) = listener.accept().unwrap();
                log.lock().unwrap().push(serve(stream, status, &body));
            }
        });
        Self { address, seen }
    }

    fn writer(&self) -> HttpWriter {
        HttpWriter::new(&format!(" http://{}/ ", self.address), Some("secret"))
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads one request and answers it; `Location: …` as a body is sent as that header.
fn serve(mut stream: TcpStream, status: u16, body: &str) -> Seen {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut authorization, mut length) = (String::new(), None, 0);
    reader.read_line(&mut line).unwrap();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content).unwrap();
    let (header, body) = if body.starts_with("Location") {
        (format!("{body}\r\n"), "")
    } else {
        (String::new(), body)
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    Seen {
        line: line.trim().to_owned(),
        authorization,
        body: String::from_utf8(content).unwrap(),
    }
}

fn owner() -> OwnerName {
    heartbeat_owner(&Zone::parse("mesh.example").unwrap())
}

fn add(value: &str) -> Operation {
    Operation::Add {
        owner: owner(),
        ttl: 300,
        value: value.into(),
    }
}

fn delete(value: &str) -> Operation {
    Operation::DeleteValue {
        owner: owner(),
        value: value.into(),
    }
}

/// What a writer makes of one response.
async fn outcome(status: u16, body: &str, operation: Operation) -> Result<(), WriteError> {
    let server = Server::start(vec![(status, body.to_owned())]);
    server.writer().apply(&[operation]).await.into_result()
}

#[tokio::test]
async fn requests_carry_value_lifetime_and_token() {
    let server = Server::start(vec![
        (201, String::new()),
        (204, String::new()),
        (204, String::new()),
    ]);
    let operations = [
        add("the value"),
        delete("the value"),
        Operation::DeleteRrset { owner: owner() },
    ];
    let applied = server.writer().apply(&operations).await;
    assert_eq!((applied.stored(), applied.messages.len()), (3, 3));
    let seen = server.seen();
    let lines: Vec<&str> = seen.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "POST /v1/records/_dnsmesh-heartbeat.mesh.example HTTP/1.1",
            "DELETE /v1/records/_dnsmesh-heartbeat.mesh.example HTTP/1.1",
            "DELETE /v1/records/_dnsmesh-heartbeat.mesh.example HTTP/1.1",
        ]
    );
    assert!(
        seen.iter()
            .all(|request| request.authorization.as_deref() == Some("Bearer secret"))
    );
    let body: serde_json::Value = serde_json::from_str(&seen[0].body).unwrap();
    assert_eq!(body, serde_json::json!({"value": "the value", "ttl": 300}));
    let body: serde_json::Value = serde_json::from_str(&seen[1].body).unwrap();
    assert_eq!(body, serde_json::json!({"value": "the value"}));
    assert_eq!(seen[2].body, "");
}

#[tokio::test]
async fn only_201_publishes_and_204_or_absence_deletes() {
    assert_eq!(outcome(201, "", add("x")).await, Ok(()));
    assert!(matches!(
        outcome(200, "", add("x")).await,
        Err(WriteError::Refused { .. })
    ));
    assert!(matches!(
        outcome(204, "", add("x")).await,
        Err(WriteError::Refused { .. })
    ));
    assert_eq!(outcome(204, "", delete("x")).await, Ok(()));
    assert_eq!(outcome(404, "", delete("x")).await, Ok(()));
    assert!(matches!(
        outcome(200, "", delete("x")).await,
        Err(WriteError::Refused { .. })
    ));
}

#[tokio::test]
async fn a_failure_carries_the_nodes_words_and_ends_the_list() {
    let error = outcome(400, r#"{"error": "ttl exceeds cap of 3600s"}"#, add("x"))
        .await
        .unwrap_err();
    let expected = "HTTP 400 — ttl exceeds cap of 3600s".to_owned();
    assert_eq!(
        error,
        WriteError::Refused {
            reason: expected,
            ttl_cap: Some(3_600)
        }
    );
    let long = "y".repeat(500);
    let Err(WriteError::Refused { reason, .. }) = outcome(413, &long, add("x")).await else {
        panic!()
    };
    assert_eq!(reason, format!("HTTP 413 — {}", "y".repeat(200)));
    assert!(matches!(
        outcome(401, r#"{"error": "unauthorized"}"#, add("x")).await,
        Err(WriteError::NotAuthorised(_))
    ));
    assert!(matches!(
        outcome(429, "", add("x")).await,
        Err(WriteError::ServerFailure(_))
    ));
    assert!(matches!(
        outcome(503, "", add("x")).await,
        Err(WriteError::ServerFailure(_))
    ));

    let server = Server::start(vec![(201, String::new()), (413, String::new())]);
    let applied = server.writer().apply(&[add("a"), add("b"), add("c")]).await;
    assert_eq!((applied.stored(), applied.messages.len()), (1, 2));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Server::start(vec![(201, String::new())]);
    let location = format!("Location: http://{}/v1/records/x", elsewhere.address);
    let server = Server::start(vec![(307, location)]);
    let applied = server.writer().apply(&[add("x")]).await;
    assert!(matches!(
        applied.failure(),
        Some(WriteError::Refused { .. })
    ));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_node_that_is_down_is_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let writer = HttpWriter::new(&format!("http://{closed}"), None);
    let applied = writer.apply(&[add("x")]).await;
    assert!(matches!(
        applied.failure(),
        Some(WriteError::Unreachable(_))
    ));
}
