//! Which zones could not be asked, told once when that begins and once when it ends. Prints nothing.

use std::collections::BTreeMap;

use dmp_client::ops::ReceiveReport;

/// The zones that did not answer the last time they were asked.
#[derive(Default)]
pub(super) struct Outages {
    zones: BTreeMap<String, Extent>,
    is_cut_off: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Partly,
    Wholly,
}

impl Outages {
    /// Takes a run and says what has changed, a line each.
    pub(super) fn note(&mut self, report: &ReceiveReport) -> Vec<String> {
        let now: BTreeMap<String, Extent> = report
            .unreachable
            .iter()
            .map(|zone| {
                let extent = if zone.partly {
                    Extent::Partly
                } else {
                    Extent::Wholly
                };
                (zone.zone.to_string(), extent)
            })
            .collect();
        let reason_of = |name: &str| {
            let found = report
                .unreachable
                .iter()
                .find(|zone| zone.zone.as_str() == name);
            found.map_or("", |zone| zone.reason.as_str())
        };
        let mut lines = Vec::new();
        if report.is_cut_off() && !self.is_cut_off {
            lines.push("warning: nobody can be asked; trying again".to_owned());
        } else if self.is_cut_off && !report.is_cut_off() {
            lines.push("note: the network answers again".to_owned());
        }
        for (zone, extent) in &now {
            if self.zones.get(zone) == Some(extent) {
                continue;
            }
            let how_much = match extent {
                Extent::Partly => "can be asked only in part",
                Extent::Wholly => "cannot be asked",
            };
            lines.push(format!("warning: {zone} {how_much}: {}", reason_of(zone)));
        }
        // A run that asked for claims only says nothing about the zones of contacts.
        let answered = |zone: &&String| {
            report
                .answered
                .iter()
                .any(|name| name.as_str() == zone.as_str())
        };
        for zone in self
            .zones
            .keys()
            .filter(|zone| !now.contains_key(*zone))
            .filter(answered)
        {
            lines.push(format!("note: {zone} answers again"));
        }
        self.zones
            .retain(|zone, _| !report.answered.iter().any(|name| name.as_str() == zone));
        self.zones.extend(now);
        self.is_cut_off = report.is_cut_off();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmp_client::ops::UnreachableZone;
    use dmp_core::name::Zone;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn run(dead: &[&str], partly: &[&str], answered: &[&str]) -> ReceiveReport {
        let unreachable = |partly| {
            move |name: &&str| UnreachableZone {
                zone: zone(name),
                reason: "no answer".to_owned(),
                partly,
            }
        };
        ReceiveReport {
            unreachable: dead
                .iter()
                .map(unreachable(false))
                .chain(partly.iter().map(unreachable(true)))
                .collect(),
            answered: answered
                .iter()
                .chain(partly)
                .map(|name| zone(name))
                .collect(),
            ..ReceiveReport::default()
        }
    }

    #[test]
    fn a_change_is_told_once() {
        let mut outages = Outages::default();
        assert!(
            outages
                .note(&run(&[], &[], &["a.test", "b.test"]))
                .is_empty()
        );
        let lost = run(&["b.test"], &[], &["a.test"]);
        assert_eq!(
            outages.note(&lost),
            ["warning: b.test cannot be asked: no answer"]
        );
        assert!(outages.note(&lost).is_empty());
        assert!(
            outages.note(&run(&[], &[], &["a.test"])).is_empty(),
            "who is not asked has not recovered"
        );
        assert!(outages.note(&lost).is_empty(), "nor failed anew");
        assert_eq!(
            outages.note(&run(&[], &["b.test"], &["a.test"])),
            ["warning: b.test can be asked only in part: no answer"]
        );
        assert_eq!(
            outages.note(&run(&[], &[], &["a.test", "b.test"])),
            ["note: b.test answers again"]
        );
    }

    #[test]
    fn a_lost_network_and_its_return_are_told_first() {
        let mut outages = Outages::default();
        let lost = run(&["a.test"], &[], &[]);
        assert_eq!(
            outages.note(&lost),
            [
                "warning: nobody can be asked; trying again",
                "warning: a.test cannot be asked: no answer"
            ]
        );
        assert!(outages.note(&lost).is_empty());
        assert_eq!(
            outages.note(&run(&[], &[], &["a.test"])),
            [
                "note: the network answers again",
                "note: a.test answers again"
            ]
        );
    }
}
