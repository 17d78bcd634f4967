//! The client's numbers, each with its derivation.

/// Lifetime of a message when nobody names one, in seconds: a day, so that a recipient who looks in daily finds it (D20).
pub const MESSAGE_TTL: u64 = 86_400;

/// Seconds after its expiry during which a saved token is still sent: clocks differ, the server decides (client.md 5.4).
pub const TOKEN_EXPIRY_GRACE: u64 = 300;
