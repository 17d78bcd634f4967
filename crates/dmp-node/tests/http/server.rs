//! The server itself: routes and methods, framing, deadlines, places, stopping (node.md 6.1, 6.2, 8).

use crate::support::{OPERATOR, TestNode, bearer, multi_tenant};
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_stats_are_open_to_everybody() {
    let node = TestNode::start(&[("DMP_OPERATOR_TOKEN", OPERATOR)]).await;
    let answer = node.get("/health").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"status": "ok"}"#)
    );
    assert_eq!(answer.status_line, "HTTP/1.1 200 OK");
    assert!(!answer.headers.contains_key("server"), "no banner");
    assert_eq!(node.get("/stats").await.body, r#"{"records": 0}"#);
    node.publish(OPERATOR, "a.test", r#"{"value": "x"}"#).await;
    assert_eq!(node.get("/stats").await.body, r#"{"records": 1}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_503_when_the_store_does_not_answer_and_does_not_say_why() {
    let node = TestNode::start(&[]).await;
    let database = rusqlite::Connection::open(node.database()).unwrap();
    database.execute_batch("DROP TABLE token").unwrap();
    let answer = node.get("/health").await;
    let body = r#"{"status": "degraded", "store": "unavailable"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (503, body));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_404_whatever_the_method() {
    let node = TestNode::start(&[]).await;
    for target in [
        "/nodes",
        "/v1/info",
        "/v1/nodes/seen",
        "/v1/heartbeat",
        "/v1/claim/publish",
        "/health?x",
        "/v1/records",
        "/v1/records/a/b",
        "/v1/registration/challenge",
        "/v1/registration/confirm",
    ] {
        for method in ["GET", "POST", "DELETE", "PUT"] {
            let answer = node.request(method, target, "", "").await;
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (404, "not found"),
                "{method} {target}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_the_path_does_not_have_is_405_with_allow() {
    let node = TestNode::start(&[]).await;
    for method in ["OPTIONS", "PUT", "PATCH", "BREW"] {
        let answer = node.request(method, "/v1/records/a.test", "", "").await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.headers["allow"], "GET, HEAD, POST, DELETE");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let answer = node.request("POST", "/health", "", "").await;
    assert_eq!(
        (answer.status, answer.headers["allow"].as_str()),
        (405, "GET, HEAD")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let node = TestNode::start(&[]).await;
    let mut connection = node.connect().await;
    connection
        .send("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\nGET /stats HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let answer = connection.answer(true).await.unwrap();
    assert_eq!(
        (answer.status, answer.headers["content-length"].as_str()),
        (200, "16")
    );
    assert_eq!(
        connection.answer(false).await.unwrap().body,
        r#"{"records": 0}"#
    );
    let answer = node.request("HEAD", "/v1/records/a.test", "", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (404, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problems_and_called_so_only_on_request() {
    let node = TestNode::start(&[]).await;
    let plain = node.get("/x").await;
    assert_eq!(plain.headers["content-type"], "application/json");
    assert_eq!(
        plain.json(),
        serde_json::json!({
            "error": "not found", "type": "about:blank", "title": "Not Found", "status": 404, "detail": "not found"
        })
    );
    let accept = "Accept: application/problem+json, application/json;q=0.5\r\n";
    let problem = node.request("GET", "/x", accept, "").await;
    assert_eq!(problem.headers["content-type"], "application/problem+json");
    assert_eq!(problem.json(), plain.json());
    let good = node.request("GET", "/health", accept, "").await;
    assert_eq!(good.headers["content-type"], "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_error_is_a_problem_to_who_asks_for_one() {
    let settings = multi_tenant(&[
        ("DMP_MAX_VALUES_PER_NAME", "1"),
        ("DMP_HTTP_RATE", "0.0001"),
        ("DMP_HTTP_BURST", "5"),
    ]);
    let node = TestNode::start(&settings).await;
    let accept = "Accept: application/problem+json\r\n";
    let operator = format!("{accept}{}", bearer(OPERATOR));
    let name = "/v1/records/a.mesh.test";
    let (one, two) = (r#"{"value": "1"}"#, r#"{"value": "2"}"#);
    assert_eq!(node.request("POST", name, &operator, one).await.status, 201);
    for (method, target, headers, body, status) in [
        ("GET", "/nowhere", accept, "", 404),
        ("PUT", "/health", accept, "", 405),
        ("POST", name, accept, one, 401),
        ("POST", name, &operator, "[", 400),
        ("POST", name, &operator, two, 413),
        ("DELETE", name, &operator, "[", 400),
        ("POST", name, &operator, one, 429),
        ("GET", "/metrics", accept, "", 401),
        ("POST", "/v1/registration/confirm", accept, "{}", 400),
        ("POST", "/v1/registration/tsig-confirm", accept, "1", 400),
    ] {
        let answer = node.request(method, target, headers, body).await;
        assert_eq!(answer.status, status, "{method} {target}");
        let media = &answer.headers["content-type"];
        assert_eq!(media, "application/problem+json", "{method} {target}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{method} {target}");
        assert_eq!(problem["detail"], problem["error"], "{method} {target}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 429);
        assert_eq!(answer.headers.contains_key("allow"), status == 405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_framing_is_400() {
    let node = TestNode::start(&[]).await;
    for request in [
        "POST /v1/records/a.test HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
        "POST /v1/records/a.test HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/records/a.test HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "nonsense\r\n\r\n",
    ] {
        assert_eq!(node.raw(request).await.status, 400, "{request}");
    }
    let header = format!("X-Filler: {}\r\n", "a".repeat(20_000));
    let answer = node.request("GET", "/health", &header, "").await;
    assert_eq!(answer.status, 431);
    assert_eq!(node.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_requests() {
    let node = TestNode::start(&[]).await;
    let mut connection = node.connect().await;
    for _ in 0..3 {
        connection
            .send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        assert_eq!(connection.answer(false).await.unwrap().status, 200);
    }
}

// The clock of the runtime is paused and moves on when nothing else can happen, so deadlines pass at once.
#[tokio::test(start_paused = true)]
async fn a_header_or_body_that_does_not_come_within_ten_seconds_ends_the_connection() {
    let node = TestNode::start(&[]).await;
    for request in ["", "GET /health HT", "GET /health HTTP/1.1\r\nHost: a\r\n"] {
        let mut connection = node.connect().await;
        connection.send(request).await;
        let begun = tokio::time::Instant::now();
        if let Some(answer) = connection.answer(false).await {
            assert_eq!(answer.status, 408, "{request:?}");
        }
        assert!(connection.is_closed().await, "{request:?}");
        assert!(
            begun.elapsed() <= Duration::from_secs(11),
            "{:?}",
            begun.elapsed()
        );
    }
    let mut connection = node.connect().await;
    connection
        .send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(connection.answer(false).await.unwrap().status, 200);
    let begun = tokio::time::Instant::now();
    assert!(connection.is_closed().await, "idle after a request");
    assert!(
        begun.elapsed() <= Duration::from_secs(11),
        "{:?}",
        begun.elapsed()
    );

    let mut connection = node.connect().await;
    connection
        .send("POST /v1/records/a.test HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        .await;
    let begun = tokio::time::Instant::now();
    let answer = connection.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "invalid body")
    );
    assert!(
        begun.elapsed() <= Duration::from_secs(11),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_lock_nobody_out() {
    let node = TestNode::start(&[("DMP_HTTP_MAX_CONCURRENCY", "2")]).await;
    let mut idle = Vec::new();
    for _ in 0..6 {
        let mut connection = node.connect().await;
        connection
            .send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        assert_eq!(connection.answer(false).await.unwrap().status, 200);
        idle.push(connection);
    }
    assert!(idle[0].is_closed().await);
    assert_eq!(node.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_are_closed_without_an_answer() {
    let node = TestNode::start(&[("DMP_HTTP_MAX_CONCURRENCY", "1")]).await;
    let mut busy = node.connect().await;
    busy.send("POST /v1/records/a.test HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\nExpect: 100-continue\r\n\r\n").await;
    // The interim answer shows that the request is being worked on.
    assert_eq!(busy.answer(false).await.unwrap().status, 100);
    assert!(node.connect().await.is_closed().await);
    busy.send(r#"{"value": "x"}"#).await;
    assert_eq!(busy.answer(false).await.unwrap().status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_finishes_what_is_in_progress() {
    let node = TestNode::start(&[("DMP_OPERATOR_TOKEN", OPERATOR)]).await;
    let mut idle = node.connect().await;
    idle.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.answer(false).await.unwrap().status, 200);
    let mut busy = node.connect().await;
    let head = format!(
        "POST /v1/records/a.test HTTP/1.1\r\nHost: a\r\n{}Content-Length: 14\r\nExpect: 100-continue\r\n\r\n",
        bearer(OPERATOR)
    );
    busy.send(&head).await;
    assert_eq!(busy.answer(false).await.unwrap().status, 100);

    let address = node.http_address();
    let stopping = tokio::spawn(node.stop());
    assert!(
        idle.is_closed().await,
        "idle connections are closed at once"
    );
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nobody new is let in"
    );
    busy.send(r#"{"value": "x"}"#).await;
    assert_eq!(busy.answer(false).await.unwrap().status, 201);
    assert!(busy.is_closed().await);

    let directory = stopping.await.unwrap();
    let node = TestNode::start_in(directory, &[("DMP_OPERATOR_TOKEN", OPERATOR)]).await;
    assert_eq!(node.values("a.test").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_listener_answers_both_families_and_an_ipv6_one_its_own() {
    let settings = [
        ("DMP_HTTP_HOST", "::"),
        ("DMP_OPERATOR_TOKEN", OPERATOR),
        ("DMP_HTTP_RATE", "0.001"),
        ("DMP_HTTP_BURST", "1"),
    ];
    let node = TestNode::start(&settings).await;
    let port = node.http_address().port();
    let get = async |address: IpAddr| {
        let mut stream = TcpStream::connect((address, port)).await.unwrap();
        let request = format!(
            "GET /v1/records/a.mesh.test HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n",
            bearer("x")
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let (v4, v6) = (
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    );
    for address in [v4, v6] {
        assert_ne!(
            get(address).await,
            "429",
            "{address} has a limit of its own"
        );
        assert_eq!(get(address).await, "429", "{address}");
    }
    drop(node);

    let node = TestNode::start(&[("DMP_HTTP_HOST", "::1")]).await;
    assert_eq!(node.http_address().ip(), v6);
    assert_eq!(node.get("/health").await.status, 200);
    let v4 = TcpStream::connect((v4, node.http_address().port())).await;
    assert!(v4.is_err(), "an address of one family is that family's");
}
