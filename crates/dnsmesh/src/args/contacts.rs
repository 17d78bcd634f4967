//! The command line of `contacts` (cli.md 3.3, 3.16).

use clap::{Args, Subcommand, ValueEnum};
use dmp_core::uri::AddressUri;

/// `contacts`
#[derive(Debug, Subcommand)]
pub(crate) enum ContactsCommand {
    /// Pin somebody's keys: by hand, by an address (looked up) or by an address URI (scanned or pasted)
    Add(ContactArgs),
    /// Print all contacts
    List,
    /// Print what is known about a contact
    Show(NamedArgs),
    /// Change what is known about a contact, not its keys
    Set(SetArgs),
    /// Forget a contact and the keys pinned for it
    Remove(RemoveArgs),
    /// Compare a contact's keys with those that the contact has: by safety number or address URI
    Verify(VerifyArgs),
    /// Pin the new key of a contact who changed keys
    AcceptKey(AcceptKeyArgs),
    /// Drop every message of a contact or key from now on
    Block(BlockArgs),
    /// Take a contact or key off the denylist
    Unblock(UnblockArgs),
}

impl ContactsCommand {
    /// What the parser cannot say: a bare label needs a key.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Add(args)
                if args.pubkey.is_none()
                    && !args.name.contains('@')
                    && !AddressUri::is_meant(&args.name) =>
            {
                Err(
                    "a label needs a public key; user@host is looked up, an address URI (dmp:...) has both keys",
                )
            }
            _ => Ok(()),
        }
    }
}

/// `contacts add`
#[derive(Debug, Args)]
pub(crate) struct ContactArgs {
    /// Label of the contact; user@host, which is looked up; or an address URI (dmp:...)
    pub(crate) name: String,
    /// Agreement (X25519) key, 64 hex digits
    pub(crate) pubkey: Option<String>,
    /// Signing (Ed25519) key, 64 hex digits
    #[arg(long, value_name = "HEX", requires = "pubkey")]
    pub(crate) signing_key: Option<String>,
    /// Label of a contact added by an address URI [default: the address]
    #[arg(long, conflicts_with = "pubkey")]
    pub(crate) label: Option<String>,
    /// Which of several records to take, if the address is looked up
    #[arg(long, value_name = "HEX16", conflicts_with = "pubkey")]
    pub(crate) accept_fingerprint: Option<String>,
    /// Replace the keys of a contact of this name
    #[arg(long)]
    pub(crate) force: bool,
}

/// `contacts show`
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// Label of the contact
    pub(crate) name: String,
}

/// `contacts set`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct SetArgs {
    /// Label of the contact
    pub(crate) name: String,
    /// Another label
    #[arg(long, group = "change")]
    pub(crate) label: Option<String>,
    /// Which wire format is exchanged: legacy only for peers of version 0.5 or 0.6
    #[arg(long, value_enum, group = "change")]
    pub(crate) wire: Option<WireName>,
    /// Zone of the contact's identity and prekeys; empty = the own zone
    #[arg(long, group = "change")]
    pub(crate) zone: Option<String>,
    /// Zone of the contact's mailbox where it is another; empty = the same
    #[arg(long, value_name = "ZONE", group = "change")]
    pub(crate) mailbox_zone: Option<String>,
    /// User name in the contact's address; empty = what the label says
    #[arg(long, group = "change")]
    pub(crate) username: Option<String>,
}

/// The wire formats of D2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WireName {
    /// What every version from 0.7 on reads.
    Current,
    /// What versions before 0.7 read.
    Legacy,
}

/// `contacts remove`
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Label of the contact
    pub(crate) name: String,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `contacts verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Label of the contact
    pub(crate) name: String,
    /// The safety number that the contact sees: if it is the own one, the contact is verified
    #[arg(long, value_name = "DIGITS", conflicts_with = "scan")]
    pub(crate) number: Option<String>,
    /// The address URI that the contact shows: if it has the pinned keys, the contact is verified
    #[arg(long, value_name = "URI")]
    pub(crate) scan: Option<String>,
}

/// `contacts accept-key`
#[derive(Debug, Args)]
pub(crate) struct AcceptKeyArgs {
    /// Label of the contact
    pub(crate) name: String,
    /// Fingerprint of the new keys, compared over another channel: needed where the old key does not vouch for the new one
    #[arg(long, value_name = "HEX16")]
    pub(crate) accept_fingerprint: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `contacts block`
#[derive(Debug, Args)]
pub(crate) struct BlockArgs {
    /// Label of a contact, or a signing key of 64 hex digits
    pub(crate) who: String,
    /// Why, for yourself
    #[arg(long, default_value = "")]
    pub(crate) note: String,
}

/// `contacts unblock`
#[derive(Debug, Args)]
pub(crate) struct UnblockArgs {
    /// Label of a contact, or a signing key of 64 hex digits
    pub(crate) who: String,
}
