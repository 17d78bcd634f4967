//! Telling in time that a credential expires (client.md 12).

use dmp_client::config::Config;
use dmp_client::credential::{Credential, Life};
use dmp_client::home::Home;

use crate::time::utc;

/// What to say about the credential that a verb is about to write with; nothing while it lasts.
pub(crate) fn warning(config: &Config, home: &Home, now: u64) -> Option<String> {
    let credential = Credential::of_home(config, home, now)?;
    let (when, time) = match credential.life(now) {
        Life::Fine => return None,
        Life::Ending(time) => ("expires", time),
        Life::Ended(time) => ("expired", time),
    };
    Some(format!(
        "warning: the {} {when} at {}; get a new one with `{}`",
        credential.kind,
        utc(i64::try_from(time).unwrap_or(i64::MAX)),
        credential.renewal()
    ))
}
