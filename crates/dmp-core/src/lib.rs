//! The DNS Mesh Protocol itself: records, keys, sealing, coding, trust. Pure.
#![forbid(unsafe_code)]
