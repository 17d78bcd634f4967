//! The client library: send and receive engines, stores, publishers.
#![forbid(unsafe_code)]
