//! What every publisher does alike (client.md 14): the one list of expectations that each back-end is held to.
//!
//! Also included by the suites that have real servers at hand.
#![allow(dead_code, reason = "each suite uses its own part")]

use dmp_client::error::WriteError;
use dmp_client::mesh::{Operation, Writer};
use dmp_core::id::{MsgId, Slot, UserId};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, chunk_owner, manifest_owner, prekey_owner};

/// What a back-end does with quotes, backslashes and control characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Odd {
    Taken,
    /// The HTTP interface of a node takes neither quotes nor control characters (node.md 6.4).
    TakenUnquoted,
    Refused,
}

/// A value at a name, with its TTL where the back-end tells.
pub(crate) type Found = (String, Option<u32>);

pub(crate) fn slot(zone: &str) -> OwnerName {
    let recipient = UserId::from_bytes([2; 32]);
    manifest_owner(
        &recipient,
        Slot::new(4).unwrap(),
        &Zone::parse(zone).unwrap(),
    )
}

pub(crate) fn add(owner: &OwnerName, ttl: u32, value: &str) -> Operation {
    Operation::Add {
        owner: owner.clone(),
        ttl,
        value: value.to_owned(),
    }
}

pub(crate) fn delete(owner: &OwnerName, value: &str) -> Operation {
    Operation::DeleteValue {
        owner: owner.clone(),
        value: value.to_owned(),
    }
}

pub(crate) fn clear(owner: &OwnerName) -> Operation {
    Operation::DeleteRrset {
        owner: owner.clone(),
    }
}

/// Holds a writer for `zone` to everything; `read` asks what is published at a name.
pub(crate) async fn hold(
    writer: &dyn Writer,
    zone: &str,
    odd: Odd,
    read: impl AsyncFn(&OwnerName) -> Vec<Found>,
) {
    let values = async |owner: &OwnerName| {
        let mut values: Vec<String> = read(owner)
            .await
            .into_iter()
            .map(|(value, _)| value)
            .collect();
        values.sort();
        values
    };
    let apply = async |operations: &[Operation]| writer.apply(operations).await.into_result();
    let (here, there) = (
        slot(zone),
        prekey_owner("alice", &Zone::parse(zone).unwrap()),
    );

    assert_eq!(apply(&[]).await, Ok(()), "nothing is success");
    assert_eq!(values(&here).await, [""; 0]);
    apply(&[add(&here, 300, "one"), add(&there, 300, "elsewhere")])
        .await
        .unwrap();
    apply(&[add(&here, 300, "two")]).await.unwrap();
    assert_eq!(values(&here).await, ["one", "two"], "values are appended");

    apply(&[add(&here, 900, "one")]).await.unwrap();
    assert_eq!(
        values(&here).await,
        ["one", "two"],
        "an identical value is no second one"
    );
    for (value, ttl) in read(&here)
        .await
        .into_iter()
        .filter(|(value, _)| value == "one")
    {
        assert!(
            ttl.is_none_or(|ttl| (850..=900).contains(&ttl)),
            "{value} has the new TTL: {ttl:?}"
        );
    }

    apply(&[delete(&here, "one")]).await.unwrap();
    assert_eq!(
        values(&here).await,
        ["two"],
        "deleting one leaves the other"
    );
    apply(&[delete(&here, "one"), delete(&here, "never there")])
        .await
        .unwrap();
    apply(&[
        delete(&slot(&format!("sub.{zone}")), "x"),
        clear(&slot(&format!("sub.{zone}"))),
    ])
    .await
    .expect("deleting what is absent succeeds");

    let (long, longest) = ("x".repeat(256), "0123456789".repeat(153));
    apply(&[
        add(&here, 300, &long),
        add(&here, 300, &longest),
        delete(&here, "two"),
    ])
    .await
    .unwrap();
    assert_eq!(
        values(&here).await,
        [longest.clone(), long.clone()],
        "several strings are one value"
    );
    apply(&[delete(&here, &longest)]).await.unwrap();
    assert_eq!(values(&here).await, [long.as_str()]);

    apply(&[add(&here, 300, "a;b (c) # d, e = <f> & 'g' $h @")])
        .await
        .unwrap();
    assert!(
        values(&here)
            .await
            .iter()
            .any(|value| value == "a;b (c) # d, e = <f> & 'g' $h @")
    );
    apply(&[clear(&here)]).await.unwrap();
    assert_eq!(values(&here).await, [""; 0]);
    assert_eq!(
        values(&there).await,
        ["elsewhere"],
        "other names keep theirs"
    );

    for value in ["\"", "a\"b\\c;d", "\\\"\\", "tab\there", "\\065"] {
        let is_plain = !value.contains(|c: char| c == '"' || c.is_control());
        let is_taken = odd == Odd::Taken || (odd == Odd::TakenUnquoted && is_plain);
        if is_taken {
            apply(&[add(&here, 300, value), add(&here, 300, "plain")])
                .await
                .unwrap();
            let mut both = [value, "plain"];
            both.sort_unstable();
            assert_eq!(values(&here).await, both);
            apply(&[delete(&here, value)]).await.unwrap();
        } else {
            apply(&[add(&here, 300, "plain")]).await.unwrap();
            let refused = apply(&[add(&here, 300, value)]).await;
            assert!(
                matches!(
                    refused,
                    Err(WriteError::Unsuitable(_) | WriteError::Refused { .. })
                ),
                "{value}: {refused:?}"
            );
        }
        assert_eq!(values(&here).await, ["plain"], "{value}");
    }

    // As long as a zone may be, so the owner has 253 characters in labels of up to 63 (records.md 4.2).
    let room = 226 - zone.len();
    let labels: Vec<String> = (0..room / 50).map(|_| "n".repeat(49)).collect();
    let deep = Zone::parse(&format!("{}.{zone}", labels.join("."))).unwrap();
    let deep = chunk_owner(
        &MsgId::from_bytes([1; 16]),
        &UserId::from_bytes([2; 32]),
        &SigningPublicKey::from_bytes([3; 32]),
        0,
        &deep,
    );
    apply(&[add(&deep, 300, "deep")]).await.unwrap();
    assert_eq!(values(&deep).await, ["deep"]);
    apply(&[clear(&deep), clear(&here), clear(&there)])
        .await
        .unwrap();
    assert_eq!(values(&deep).await, [""; 0]);
}

/// Holds a writer that knows its zone to seeing before it asks anybody what does not belong there.
pub(crate) async fn hold_to_its_zone(writer: &dyn Writer, zone: &str) {
    for other in [format!("other{zone}"), "elsewhere.test".to_owned()] {
        let failure = writer
            .apply(&[add(&slot(&other), 300, "x")])
            .await
            .into_result();
        assert_eq!(failure, Err(WriteError::NotZone), "{other}");
    }
}
