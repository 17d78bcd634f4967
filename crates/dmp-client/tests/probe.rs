//! The probe for a node's DNS listener against answers of every kind (node.md C1).

use std::net::{SocketAddr, UdpSocket};
use std::thread;

use dmp_client::probe::is_node;

/// A server that turns each request into an answer with this response code; `None` stays silent.
fn server(rcode: Option<u8>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1232];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let request = &mut buffer[..length];
            assert_eq!(request[2] >> 3 & 0xf, 5, "an UPDATE");
            let Some(rcode) = rcode else { continue };
            request[2] |= 0x80;
            request[3] = rcode;
            socket.send_to(request, client).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_node_refuses_the_probe_and_anything_else_is_no_node() {
    for (rcode, expected) in [
        (Some(5), true),
        (Some(9), true),
        (Some(1), false),
        (Some(4), false),
        (Some(0), false),
        (None, false),
    ] {
        assert_eq!(
            is_node("node.test", server(rcode)).await,
            expected,
            "{rcode:?}"
        );
    }
    assert!(
        is_node("127.0.0.1", server(Some(5))).await,
        "a node may be known by its address only"
    );
    assert!(!is_node("not a name..", server(Some(5))).await);
}
