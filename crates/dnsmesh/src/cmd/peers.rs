//! `peers`: the node of a zone and those it has heard of (cli.md 3.14, federation.md 2.12). Needs no configuration.

use dmp_client::config::Config;
use dmp_client::connect;
use dmp_client::directory::{Beat, Unanswered, View, look, zone_of};
use dmp_client::home::HomeError;
use dmp_client::reader::Resolvers;
use dmp_core::id::UnixTime;
use dmp_core::owner::heartbeat_owner;
use dmp_net::PoolOptions;
use serde::Serialize;

use super::Outcome;
use crate::args::peers::PeersArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::report::{Report, document};
use crate::screen;
use crate::time::now;

/// Asks the zone and shows what verifies.
pub(super) async fn peers(context: &Context, args: PeersArgs) -> Outcome {
    let zone = zone_of(&args.zone).ok_or_else(|| {
        Failure::user(
            "peers-zone",
            format!(
                "`{}` names no zone: it takes a zone, or a URL with a name as its host",
                args.zone
            ),
        )
    })?;
    let reader = if args.resolver.is_empty() {
        let config = match context.home.load_config() {
            Err(HomeError::NoConfig(_)) => Config::default(),
            config => config?,
        };
        connect::reader(&config, context.system_fallback())?
    } else {
        let fallback = context.system_fallback();
        Resolvers::configured(args.resolver, PoolOptions::default(), fallback)
    };
    let now = UnixTime::new(now());
    let view = look(&reader, &zone, now).await?;
    Ok(Box::new(Shown { view, now }))
}

impl From<Unanswered> for Failure {
    fn from(error: Unanswered) -> Self {
        Self::new(Exit::Remote, "peers-unreachable", error)
            .hint("`dnsmesh resolvers test` tells which resolvers answer from here")
    }
}

struct Shown {
    view: View,
    now: UnixTime,
}

impl Report for Shown {
    fn text(&self) -> String {
        let View { zone, own, seen } = &self.view;
        let mut text = format!("zone:    {zone}\n");
        match own.first() {
            Some(Beat { heartbeat, .. }) => {
                let zone = heartbeat.claim_provider_zone.as_deref().unwrap_or("-");
                let rows = [
                    ("self endpoint:", heartbeat.endpoint.as_str()),
                    ("operator spk:", &heartbeat.operator.to_string()),
                    ("claim zone:", zone),
                    ("version:", &heartbeat.version),
                ];
                for (label, value) in rows {
                    text.push_str(&format!("  {label:<14} {}\n", screen::line(value)));
                }
            }
            None => text.push_str(&format!(
                "  ({} not published yet)\n",
                heartbeat_owner(zone)
            )),
        }
        text.push('\n');
        if seen.is_empty() {
            text.push_str("(no peers seen yet)\n");
            return text;
        }
        text.push_str(&format!("peers ({}):\n", seen.len()));
        for beat in seen {
            text.push_str(&format!(
                "  {}\n    spk={}  version={}  last heard {}\n",
                screen::line(beat.heartbeat.endpoint.as_str()),
                beat.short_operator(),
                screen::line(&beat.heartbeat.version),
                age(self.now.saturating_sub(beat.heartbeat.ts))
            ));
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            zone: &'a str,
            #[serde(rename = "self")]
            own: Option<Node<'a>>,
            seen: Vec<Node<'a>>,
        }
        let View { zone, own, seen } = &self.view;
        document(
            "dmp.peers/1",
            &Members {
                zone: zone.as_str(),
                own: own.first().map(|beat| Node {
                    wire: Some(&beat.wire),
                    ..Node::of(beat)
                }),
                seen: seen.iter().map(Node::of).collect(),
            },
        )
    }
}

#[derive(Serialize)]
struct Node<'a> {
    endpoint: &'a str,
    operator_spk_hex: String,
    claim_provider_zone: &'a str,
    version: &'a str,
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<&'a str>,
}

impl<'a> Node<'a> {
    fn of(Beat { heartbeat, .. }: &'a Beat) -> Self {
        Self {
            endpoint: heartbeat.endpoint.as_str(),
            operator_spk_hex: heartbeat.operator.to_string(),
            claim_provider_zone: heartbeat.claim_provider_zone.as_deref().unwrap_or_default(),
            version: &heartbeat.version,
            ts: heartbeat.ts.as_secs(),
            wire: None,
        }
    }
}

/// How long ago, in the largest of the three units that is not zero.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        _ => format!("{}h ago", seconds / 3_600),
    }
}
