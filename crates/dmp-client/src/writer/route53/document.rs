//! The XML that Route 53 speaks (API version 2013-04-01): the change we send, the lists and errors it answers.

use quick_xml::escape::escape;
use serde::Deserialize;

use crate::error::WriteError;

/// The TXT record set of a name. Values stand as Route 53 writes them, since a deletion has to repeat them exactly.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct RecordSet {
    pub(super) ttl: u32,
    pub(super) values: Vec<String>,
}

/// A name whose set changes.
pub(super) struct Change<'a> {
    pub(super) name: &'a str,
    pub(super) before: &'a RecordSet,
    pub(super) after: &'a RecordSet,
}

/// The body of ChangeResourceRecordSets. Each set is deleted as it was read and created as it shall be: Route 53 takes all of it or
/// nothing, and nothing if somebody changed one of the sets meanwhile, which an UPSERT would overwrite.
pub(super) fn change_request<'a>(changes: impl Iterator<Item = Change<'a>>) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>",
    );
    for change in changes {
        for (action, set) in [("DELETE", change.before), ("CREATE", change.after)] {
            if !set.values.is_empty() {
                push_set(&mut text, action, change.name, set);
            }
        }
    }
    text.push_str("</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>");
    text
}

fn push_set(text: &mut String, action: &str, name: &str, set: &RecordSet) {
    text.push_str(&format!(
        "<Change><Action>{action}</Action><ResourceRecordSet><Name>{}.</Name><Type>TXT</Type><TTL>{}</TTL><ResourceRecords>",
        escape(name),
        set.ttl
    ));
    for value in &set.values {
        text.push_str(&format!(
            "<ResourceRecord><Value>{}</Value></ResourceRecord>",
            escape(value.as_str())
        ));
    }
    text.push_str("</ResourceRecords></ResourceRecordSet></Change>");
}

/// The TXT set of `name` in the answer to a list that starts there.
///
/// # Errors
/// An answer that is none, or a set with a routing policy or an alias, which cannot be changed value by value.
pub(super) fn read_set(body: &str, name: &str) -> Result<RecordSet, WriteError> {
    let list: List = quick_xml::de::from_str(body).map_err(|_| unreadable())?;
    let mut sets = list.sets.sets.into_iter().filter(|set| {
        set.kind == "TXT" && set.name.trim_end_matches('.').eq_ignore_ascii_case(name)
    });
    let Some(set) = sets.next() else {
        return Ok(RecordSet::default());
    };
    let (Some(ttl), Some(records), None) = (set.ttl, set.records, set.identifier) else {
        return Err(WriteError::Refused {
            reason: format!("the record set at {name} has a routing policy or is an alias"),
            ttl_cap: None,
        });
    };
    Ok(RecordSet {
        ttl,
        values: records
            .records
            .into_iter()
            .map(|record| record.value)
            .collect(),
    })
}

/// Code and words of an error.
pub(super) struct Complaint {
    pub(super) code: String,
    pub(super) message: String,
}

/// What an answer with an error status says; empty where it says nothing in this form.
pub(super) fn read_complaint(body: &str) -> Complaint {
    if let Ok(answer) = quick_xml::de::from_str::<ErrorResponse>(body) {
        return Complaint {
            code: answer.error.code,
            message: answer.error.message,
        };
    }
    // The form of this one error that stands in the API reference.
    match quick_xml::de::from_str::<InvalidChangeBatch>(body) {
        Ok(answer) => Complaint {
            code: "InvalidChangeBatch".to_owned(),
            message: answer.messages.messages.join("; "),
        },
        Err(_) => Complaint {
            code: String::new(),
            message: String::new(),
        },
    }
}

fn unreadable() -> WriteError {
    WriteError::ServerFailure("the answer of Route 53 cannot be read".to_owned())
}

#[derive(Deserialize)]
#[serde(rename = "ListResourceRecordSetsResponse")]
struct List {
    #[serde(rename = "ResourceRecordSets")]
    sets: Sets,
}

#[derive(Deserialize)]
struct Sets {
    #[serde(rename = "ResourceRecordSet", default)]
    sets: Vec<Set>,
}

#[derive(Deserialize)]
struct Set {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "TTL")]
    ttl: Option<u32>,
    #[serde(rename = "SetIdentifier")]
    identifier: Option<String>,
    #[serde(rename = "ResourceRecords")]
    records: Option<Records>,
}

#[derive(Deserialize)]
struct Records {
    #[serde(rename = "ResourceRecord", default)]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "Value")]
    value: String,
}

#[derive(Deserialize)]
struct ErrorResponse {
    #[serde(rename = "Error")]
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(rename = "Code")]
    code: String,
    #[serde(rename = "Message", default)]
    message: String,
}

#[derive(Deserialize)]
struct InvalidChangeBatch {
    #[serde(rename = "Messages")]
    messages: Messages,
}

#[derive(Deserialize)]
struct Messages {
    #[serde(rename = "Message", default)]
    messages: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">
   <ResourceRecordSets>
      <ResourceRecordSet>
         <Name>A.example.</Name><Type>TXT</Type><TTL>300</TTL>
         <ResourceRecords>
            <ResourceRecord><Value>"a&lt;b&amp;\"c" "d"</Value></ResourceRecord>
            <ResourceRecord><Value>&quot;two&quot;</Value></ResourceRecord>
         </ResourceRecords>
      </ResourceRecordSet>
   </ResourceRecordSets>
   <IsTruncated>false</IsTruncated><MaxItems>1</MaxItems>
</ListResourceRecordSetsResponse>"#;

    #[test]
    fn a_list_gives_the_set_of_its_name_only() {
        let set = read_set(LIST, "a.example").unwrap();
        assert_eq!(set.ttl, 300);
        assert_eq!(set.values, ["\"a<b&\\\"c\" \"d\"", "\"two\""]);
        assert_eq!(read_set(LIST, "b.example").unwrap(), RecordSet::default());
        let empty = "<ListResourceRecordSetsResponse><ResourceRecordSets/></ListResourceRecordSetsResponse>";
        assert_eq!(read_set(empty, "a.example").unwrap(), RecordSet::default());
        let policy = LIST.replace("<TTL>300", "<SetIdentifier>x</SetIdentifier><TTL>300");
        assert!(matches!(
            read_set(&policy, "a.example"),
            Err(WriteError::Refused { .. })
        ));
        assert!(matches!(
            read_set("<html>", "a.example"),
            Err(WriteError::ServerFailure(_))
        ));
    }

    #[test]
    fn both_forms_of_errors_are_read() {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate &gt; 5</Message></Error></ErrorResponse>";
        let complaint = read_complaint(error);
        assert_eq!(
            (complaint.code.as_str(), complaint.message.as_str()),
            ("Throttling", "Rate > 5")
        );
        let batch = "<InvalidChangeBatch><Messages><Message>one</Message><Message>two</Message></Messages></InvalidChangeBatch>";
        let complaint = read_complaint(batch);
        assert_eq!(
            (complaint.code.as_str(), complaint.message.as_str()),
            ("InvalidChangeBatch", "one; two")
        );
        assert_eq!(read_complaint("nonsense").code, "");
    }

    #[test]
    fn a_change_deletes_what_was_read_and_creates_what_shall_be() {
        let before = RecordSet {
            ttl: 60,
            values: vec!["\"a&b\"".to_owned()],
        };
        let after = RecordSet {
            ttl: 300,
            values: vec!["\"<c>\"".to_owned()],
        };
        let text = change_request(
            [Change {
                name: "a.example",
                before: &before,
                after: &after,
            }]
            .into_iter(),
        );
        let set = |action: &str, ttl: u32, value: &str| {
            format!(
                "<Change><Action>{action}</Action><ResourceRecordSet><Name>a.example.</Name><Type>TXT</Type><TTL>{ttl}</TTL>\
                 <ResourceRecords><ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>"
            )
        };
        assert!(
            text.contains(
                &(set("DELETE", 60, "&quot;a&amp;b&quot;")
                    + &set("CREATE", 300, "&quot;&lt;c&gt;&quot;"))
            ),
            "{text}"
        );
    }
}
