//! Messages of the quarantine judged again: their sender may have been pinned since, or an identity record may be there now
//! (crypto.md 15.4). Fetches no chunk; the text is in the store.

use dmp_core::trust::{Admission, Author, Decision, Rotations, Standing};
use futures_util::StreamExt;
use futures_util::stream;

use super::Run;
use super::budget::Account;
use crate::limits::RECONSIDERED_IN_FLIGHT;
use crate::store::{Intro, Received};

impl Run<'_> {
    /// Judges again what may have become deliverable; what has is in the state at once. A damaged row is told and holds up nothing.
    pub(super) async fn reconsider(&self) {
        let rows = match self.session.store.intros() {
            Ok(rows) => rows,
            Err(error) => {
                let own = &self.session.profile.mesh_zone;
                return self.drop_record(own, error.code(), error, None);
            }
        };
        let hopeful = rows.into_iter().filter(|row| self.may_have_changed(row));
        stream::iter(hopeful)
            .for_each_concurrent(RECONSIDERED_IN_FLIGHT, async |row| {
                if let Some(received) = self.judge_again(row).await {
                    self.with_state(|state| state.released.push(received));
                }
            })
            .await;
    }

    /// Nothing can have changed for a stranger: it takes a person to pin one. A row that names no sender proves nothing.
    fn may_have_changed(&self, row: &Intro) -> bool {
        let pinned = self
            .receiver
            .pins
            .iter()
            .any(|pin| pin.signing == Some(row.signer));
        row.sender_id.is_some()
            && self.is_verified(&row.signer)
            && (pinned || row.reason.code == "authorship-not-proven")
    }

    async fn judge_again(&self, row: Intro) -> Option<Received> {
        let author = Author {
            signing: row.signer,
            sender_id: row.sender_id?,
            from: row.claimed.clone(),
        };
        let standing = self.standing_of(&row).await?;
        if matches!(standing, Standing::Stranger { .. }) {
            return None;
        }
        let account = Account::Contact(row.signer);
        let Decision::Inbox { label, proof } = self.judge(account, &author, &standing).await else {
            return None;
        };
        let mut message = row.into_message(self.now);
        message.contact = self.contact_label(&author.signing, &standing);
        message.address = label;
        (message.authorship, message.succession) =
            super::message::provenance(proof, author.signing);
        Some(Received::Inbox(message))
    }

    /// Where the sender stands now; `None` for one that was blocked or revoked since.
    async fn standing_of(&self, row: &Intro) -> Option<Standing> {
        let mut rotations = Rotations::default();
        loop {
            match self.receiver.reconsider(&row.signer, &row.zone, &rotations) {
                Ok(standing) => return Some(standing),
                Err(Admission::NeedRotations(questions)) => {
                    self.learn(&questions, &mut rotations).await;
                }
                Err(_) => return None,
            }
        }
    }
}
