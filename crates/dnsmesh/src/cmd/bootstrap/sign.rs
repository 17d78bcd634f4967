//! `bootstrap sign`: which clusters serve a domain of users.

use dmp_client::signing::read_key;
use dmp_core::record::{BootstrapEntry, BootstrapRecord};

use crate::args::bootstrap::SignArgs;
use crate::cmd::Outcome;
use crate::cmd::signing::{Role, parse_domain, signed, terms};

/// Between clusters whose priority nobody states, so that another one fits between them later.
const PRIORITY_STEP: u16 = 10;

/// Signs the record and prints it.
pub(super) fn sign(args: &SignArgs, role: Role) -> Outcome {
    let domain = parse_domain(&args.user_domain)?;
    let key = read_key(&args.key)?;
    let (seq, exp) = terms(&args.terms);
    let usual = (1..).map(|place: u16| place.saturating_mul(PRIORITY_STEP));
    let entries = args
        .entry
        .iter()
        .zip(usual)
        .map(|(entry, usual)| BootstrapEntry {
            priority: entry.priority.unwrap_or(usual),
            base: entry.base.clone(),
            operator: entry.operator,
        });
    let record = BootstrapRecord {
        seq,
        exp,
        signer: key.public(),
        domain,
        entries: entries.collect(),
    };
    signed(record.sign(&key), role, args.terms.zone_file)
}
