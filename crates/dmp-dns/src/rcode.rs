//! The numbers of the DNS registry that this project meets: opcodes, response codes, record types and classes.
//!
//! They are newtypes, not enums: every value a peer may send is representable, and the known ones have names.

use std::fmt;

macro_rules! registry {
    ($(#[$doc:meta])* $name:ident($int:ty), $prefix:literal { $($(#[$vdoc:meta])* $variant:ident = $value:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$vdoc])* pub const $variant: Self = Self($value);)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($value => f.write_str($text),)*
                    other => write!(f, "{}{other}", $prefix),
                }
            }
        }
    };
}

registry! {
    /// What a message asks for: bits 1-4 of the third header octet (RFC 1035 4.1.1).
    Opcode(u8), "OPCODE" {
        /// Standard query.
        QUERY = 0, "QUERY";
        /// Inverse query (obsolete, RFC 3425).
        IQUERY = 1, "IQUERY";
        /// Server status request.
        STATUS = 2, "STATUS";
        /// Zone change notification (RFC 1996).
        NOTIFY = 4, "NOTIFY";
        /// Dynamic update (RFC 2136).
        UPDATE = 5, "UPDATE";
        /// Stateful operations (RFC 8490): no question section.
        DSO = 6, "DSO";
    }
}

registry! {
    /// A response code; with EDNS it has twelve bits (RFC 6891 6.1.3), in TSIG records sixteen (RFC 8945 3).
    Rcode(u16), "RCODE" {
        /// No error.
        NOERROR = 0, "NOERROR";
        /// The message could not be read.
        FORMERR = 1, "FORMERR";
        /// The server failed; the client may try again.
        SERVFAIL = 2, "SERVFAIL";
        /// The name does not exist.
        NXDOMAIN = 3, "NXDOMAIN";
        /// The server does not do this.
        NOTIMP = 4, "NOTIMP";
        /// The server will not do this.
        REFUSED = 5, "REFUSED";
        /// A name that should not exist does (RFC 2136 2.2).
        YXDOMAIN = 6, "YXDOMAIN";
        /// An RRset that should not exist does (RFC 2136 2.2).
        YXRRSET = 7, "YXRRSET";
        /// An RRset that should exist does not (RFC 2136 2.2).
        NXRRSET = 8, "NXRRSET";
        /// Not authoritative for the zone, or not authorised (RFC 2136 2.2, RFC 8945 5.2).
        NOTAUTH = 9, "NOTAUTH";
        /// A name lies outside the zone (RFC 2136 2.2).
        NOTZONE = 10, "NOTZONE";
        /// EDNS version not implemented (RFC 6891 9).
        BADVERS = 16, "BADVERS";
        /// The server cookie is missing or not ours; a good one comes with this answer (RFC 7873 8).
        BADCOOKIE = 23, "BADCOOKIE";
    }
}

registry! {
    /// A record type or query type.
    Rtype(u16), "TYPE" {
        /// Address, IPv4.
        A = 1, "A";
        /// Name server.
        NS = 2, "NS";
        /// Alias.
        CNAME = 5, "CNAME";
        /// Start of authority.
        SOA = 6, "SOA";
        /// Host information; the minimal answer to ANY (RFC 8482).
        HINFO = 13, "HINFO";
        /// Mail exchange.
        MX = 15, "MX";
        /// Text.
        TXT = 16, "TXT";
        /// Address, IPv6.
        AAAA = 28, "AAAA";
        /// EDNS pseudo record (RFC 6891).
        OPT = 41, "OPT";
        /// Non-existence signal in compact denial; never a question (RFC 9824 3.4).
        NXNAME = 128, "NXNAME";
        /// Key establishment (RFC 2930).
        TKEY = 249, "TKEY";
        /// Transaction signature (RFC 8945).
        TSIG = 250, "TSIG";
        /// Incremental transfer (RFC 1995).
        IXFR = 251, "IXFR";
        /// Zone transfer (RFC 5936).
        AXFR = 252, "AXFR";
        /// Mailbox records (obsolete).
        MAILB = 253, "MAILB";
        /// Mail agent records (obsolete).
        MAILA = 254, "MAILA";
        /// Every type.
        ANY = 255, "ANY";
    }
}

registry! {
    /// A record class or query class.
    Class(u16), "CLASS" {
        /// The Internet.
        IN = 1, "IN";
        /// Chaosnet.
        CH = 3, "CH";
        /// None: deletion of a value, or absence as prerequisite (RFC 2136 2.4, 2.5).
        NONE = 254, "NONE";
        /// Any: deletion of an RRset, or existence as prerequisite (RFC 2136 2.4, 2.5).
        ANY = 255, "ANY";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_print_their_names_and_others_their_number() {
        assert_eq!(Rcode::NOTZONE.to_string(), "NOTZONE");
        assert_eq!(Rcode(22).to_string(), "RCODE22");
        assert_eq!(Rtype(65_280).to_string(), "TYPE65280");
        assert_eq!(Class::IN.to_string(), "IN");
        assert_eq!(Opcode(15).to_string(), "OPCODE15");
    }
}
