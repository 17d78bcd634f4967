//! How many queries the messages of a run may cost: together, for each sender, for strangers (client.md 10.3, crypto.md 15.4).
//! Polling the own zone and the contacts' is the user's business and is not counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;

use super::Run;
use crate::limits::{
    MESSAGE_QUERIES_PER_RUN, QUERIES_PER_SENDER, STRANGER_QUERIES_PER_RUN,
    STRANGER_QUERIES_PER_SENDER,
};
use crate::mesh::Lookup;

/// On whose account a look-up is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Account {
    /// The user's own business.
    Own,
    /// Somebody whom the user pinned, or who follows somebody pinned.
    Contact(SigningPublicKey),
    /// Somebody whom nobody pinned.
    Stranger(SigningPublicKey),
}

/// What has been spent in a run.
#[derive(Default)]
pub(super) struct Budget(Mutex<Spent>);

#[derive(Default)]
struct Spent {
    messages: usize,
    strangers: usize,
    senders: HashMap<SigningPublicKey, usize>,
}

impl Budget {
    /// Spends queries on an account, or says that they are not there.
    pub(super) fn spend(&self, account: Account, queries: usize) -> bool {
        let (sender, most, is_stranger) = match account {
            Account::Own => return true,
            Account::Contact(sender) => (sender, QUERIES_PER_SENDER, false),
            Account::Stranger(sender) => (sender, STRANGER_QUERIES_PER_SENDER, true),
        };
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_sender = spent.senders.get(&sender).copied().unwrap_or(0);
        let fits = of_sender + queries <= most
            && spent.messages + queries <= MESSAGE_QUERIES_PER_RUN
            && (!is_stranger || spent.strangers + queries <= STRANGER_QUERIES_PER_RUN);
        if fits {
            spent.messages += queries;
            spent.strangers += if is_stranger { queries } else { 0 };
            spent.senders.insert(sender, of_sender + queries);
        }
        fits
    }
}

impl Run<'_> {
    /// The values at a name of a zone, on an account; `None` if its queries are used up. What was asked before costs nothing.
    pub(super) async fn txt(
        &self,
        account: Account,
        zone: &Zone,
        owner: &OwnerName,
    ) -> Option<Lookup> {
        if !self.lookups.is_known(owner) && !self.budget.spend(account, 1) {
            return None;
        }
        Some(self.lookups.txt(zone, owner).await)
    }
}
