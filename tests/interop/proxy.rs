//! A forward HTTP proxy that maps zone names, and addresses, to the nodes of a test.
//! The reference keys a saved bearer token by host name without port, so a client must see `http://alpha.test`.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::node::Node;

/// Starts the proxy and returns its address; it lives as long as the test process.
pub(crate) fn start(nodes: &[&Node]) -> SocketAddr {
    let routes: HashMap<String, SocketAddr> = nodes
        .iter()
        .flat_map(|node| [node.zone.clone(), node.http.to_string()].map(|host| (host, node.http)))
        .collect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let routes = routes.clone();
            thread::spawn(move || forward(client, &routes));
        }
    });
    address
}

/// One connection: `GET http://host/path` becomes `GET /path` at the node of `host` (the reference asks so), and
/// `CONNECT host:port` a tunnel to that node (ours).
fn forward(mut client: TcpStream, routes: &HashMap<String, SocketAddr>) -> Option<()> {
    let (head, rest) = read_head(&mut client)?;
    let (request_line, headers) = head.split_once("\r\n")?;
    let mut words = request_line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (host, path) = match target.strip_prefix("http://") {
        Some(url) => url.split_once('/').map(|(host, path)| (host, Some(path)))?,
        None => (target.split(':').next()?, None),
    };
    let Some(node) = routes.get(host) else {
        return client
            .write_all(
                b"HTTP/1.1 502 no such host\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )
            .ok();
    };
    let mut server = TcpStream::connect(node).ok()?;
    match path {
        Some(path) => {
            let kept: Vec<&str> = headers
                .lines()
                .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
                .collect();
            let head = format!(
                "{method} /{path} HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n",
                kept.join("\r\n")
            );
            server.write_all(head.as_bytes()).ok()?;
        }
        None => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?,
    }
    server.write_all(&rest).ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    std::io::copy(&mut server, &mut client).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

/// The header without its closing empty line, and what was read past it.
fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some((
                String::from_utf8(bytes[..end].to_vec()).ok()?,
                bytes[end + 4..].to_vec(),
            ));
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
