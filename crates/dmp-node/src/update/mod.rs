//! RFC 2136 UPDATE with RFC 8945 TSIG on top of the store (node.md 3).
