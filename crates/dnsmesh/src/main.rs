//! One binary: the node and the user's tool.
#![forbid(unsafe_code)]

fn main() {}
