//! DNS as the DNS Mesh Protocol needs it: names, messages, EDNS, TXT, TSIG, UPDATE, answers. Pure.
#![forbid(unsafe_code)]
