//! The DNS listeners: UDP threads with their own sockets, and TCP.
