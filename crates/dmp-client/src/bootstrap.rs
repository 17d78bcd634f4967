//! From a domain of users to the cluster that serves it (federation.md 5): the bootstrap record under the pinned signer, then the
//! manifest of each cluster in it under that cluster's own key. Both steps are verified, and no key is learnt from DNS.

mod adopt;
mod anchor;
mod discover;
mod fetch;

pub use self::adopt::{Adopted, adopt};
pub use self::anchor::{Anchor, AnchorError};
pub use self::discover::{Discovery, Skipped, Unusable, discover};
pub use self::fetch::{FetchError, Hearsay, fetch, hearsay};
