//! Label values as types, and one counter for each.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// Label values at most in one set.
const MOST: usize = 16;

/// A closed set of label values.
pub(crate) trait Label: Copy + 'static {
    /// Each value with its text, in the order of declaration.
    const ALL: &'static [(Self, &'static str)];

    /// Place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)* }

        impl Label for $name {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $text),)*];

            fn index(self) -> usize {
                self as usize
            }
        }

        const _: () = assert!($name::ALL.len() <= MOST);
    };
}

labels! {
    /// Why a DNS request got no answer.
    Dropped {
        Unanswerable = "unanswerable",
        Unsent = "unsent",
        RateLimited = "rate_limited",
    }
}

labels! {
    /// What an answer over UDP that is above its limit became (D12).
    Limited {
        Slip = "slip",
        Cookie = "cookie",
        Drop = "drop",
    }
}

labels! {
    /// Why a signature was not accepted (RFC 8945 5.2).
    Tsig {
        BadKey = "badkey",
        BadSig = "badsig",
        BadTime = "badtime",
        BadTrunc = "badtrunc",
        Formerr = "formerr",
    }
}

labels! {
    /// What became of an UPDATE.
    Update {
        Applied = "applied",
        Repeated = "repeated",
        Formerr = "formerr",
        Servfail = "servfail",
        Notimp = "notimp",
        Refused = "refused",
        Prerequisite = "prerequisite",
        Notauth = "notauth",
        Notzone = "notzone",
        Quota = "quota",
    }
}

labels! {
    /// What became of an unsigned UPDATE by the claim policy.
    Claim {
        Accepted = "accepted",
        Refused = "refused",
        Unregistered = "unregistered",
        Limited = "limited",
    }
}

labels! {
    /// What happened to a connection.
    ConnectionEvent {
        Accepted = "accepted",
        Refused = "refused",
        Evicted = "evicted",
    }
}

labels! {
    /// What a registration request led to.
    Registration {
        Challenge = "challenge",
        Token = "token",
        Key = "key",
        Invalid = "invalid",
        UnknownChallenge = "unknown_challenge",
        BadSignature = "bad_signature",
        Denied = "denied",
        Owned = "owned",
        Limited = "limited",
        Draining = "draining",
        Internal = "internal",
    }
}

labels! {
    /// What an attempt to obtain a certificate led to.
    Renewal {
        Success = "success",
        Failure = "failure",
    }
}

labels! {
    /// What a round of the heartbeat led to.
    Beat {
        Complete = "complete",
        Incomplete = "incomplete",
    }
}

labels! {
    /// What a round with a peer of the cluster led to.
    SyncRound {
        Complete = "complete",
        Unreachable = "unreachable",
        Slow = "slow",
        Status = "status",
        Malformed = "malformed",
        Store = "store",
    }
}

labels! {
    /// What came from a peer of the cluster.
    SyncValue {
        New = "new",
        Refreshed = "refreshed",
        Deleted = "deleted",
    }
}

labels! {
    /// Why something of a peer of the cluster was not taken.
    SyncRefused {
        Malformed = "malformed",
        Unsolicited = "unsolicited",
        Hash = "hash",
        Life = "life",
        Record = "record",
        Missing = "missing",
        Full = "full",
    }
}

labels! {
    /// What became of a transaction.
    StoreWrite {
        Committed = "committed",
        Refused = "refused",
        ReadOnly = "read_only",
        Full = "full",
        Busy = "busy",
        Failed = "failed",
        Stopped = "stopped",
    }
}

labels! {
    /// A part of the node in which a request can break off.
    Part {
        Dns = "dns",
        Http = "http",
        Store = "store",
    }
}

labels! {
    /// A role that is switched on or off by configuration (D11).
    Role {
        ClaimProvider = "claim_provider",
        ClaimReceiver = "claim_receiver",
        Registration = "registration",
        Update = "update",
    }
}

/// One counter for each value of a label.
#[derive(Debug)]
pub(crate) struct Labelled<L> {
    counts: [AtomicU64; MOST],
    label: PhantomData<L>,
}

impl<L> Default for Labelled<L> {
    fn default() -> Self {
        Self {
            counts: Default::default(),
            label: PhantomData,
        }
    }
}

impl<L: Label> Labelled<L> {
    pub(crate) fn count(&self, label: L) {
        self.counts[label.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, label: L, count: usize) {
        self.counts[label.index()].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Every label's text with its count.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        L::ALL
            .iter()
            .map(|(label, text)| (*text, self.counts[label.index()].load(Ordering::Relaxed)))
    }
}
