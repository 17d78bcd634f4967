//! The memory of a resolver pool: who failed when, in which order to ask, and what the answers of one walk mean for it
//! (federation.md 7.2). Time is an argument; nothing is sent from here.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::pool::Lookup;

/// What a pool remembers of its upstreams, by index in priority order.
#[derive(Debug)]
pub(crate) struct Health {
    upstreams: Vec<Upstream>,
    threshold: u32,
    cooldown: Duration,
    /// Timeouts in a row after which an upstream is no longer asked.
    give_up: Option<u32>,
}

#[derive(Clone, Debug)]
struct Upstream {
    consecutive_failures: u32,
    last_failure: Option<Instant>,
    timeouts: u32,
    pace: Pace,
}

/// A token bucket in whole queries: [`limits::PACE_BURST`] at once, `per_second` after that.
#[derive(Clone, Debug)]
struct Pace {
    /// When the next query may go if the burst is used up; a burst's length before now when it is unused.
    next: Instant,
    per_second: u32,
}

/// How one upstream fared in one query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fared {
    /// It answered.
    Well,
    /// It did not answer in time.
    TimedOut,
    /// It answered with an error, or the network failed, or it was proven wrong.
    Badly,
    /// It was still silent when another one, asked later, had the answer.
    Overtaken,
}

impl Health {
    pub(crate) fn new(
        count: usize,
        threshold: u32,
        cooldown: Duration,
        give_up: Option<u32>,
        now: Instant,
    ) -> Self {
        let upstream = Upstream {
            consecutive_failures: 0,
            last_failure: None,
            timeouts: 0,
            pace: Pace {
                next: now,
                per_second: limits::PACE_PER_SECOND,
            },
        };
        Self {
            upstreams: vec![upstream; count],
            threshold: threshold.max(1),
            cooldown,
            give_up,
        }
    }

    /// The upstreams to ask: those not cooling down by priority, then the cooling ones, oldest failure first. Those that
    /// timed out too often in this run are left out.
    pub(crate) fn order(&self, now: Instant) -> Vec<usize> {
        let asked =
            |upstream: &Upstream| self.give_up.is_none_or(|limit| upstream.timeouts < limit);
        let mut order: Vec<usize> = (0..self.upstreams.len())
            .filter(|index| asked(&self.upstreams[*index]))
            .collect();
        order.sort_by_key(|index| {
            let upstream = &self.upstreams[*index];
            self.is_cooling(upstream, now)
                .then_some(upstream.last_failure)
                .flatten()
        });
        order
    }

    /// Records how an upstream fared. An answer ends its streaks.
    pub(crate) fn record(&mut self, index: usize, fared: Fared, now: Instant) {
        let Some(upstream) = self.upstreams.get_mut(index) else {
            return;
        };
        match fared {
            Fared::Well => (upstream.consecutive_failures, upstream.timeouts) = (0, 0),
            Fared::TimedOut | Fared::Badly | Fared::Overtaken => {
                upstream.consecutive_failures = upstream.consecutive_failures.saturating_add(1);
                upstream.last_failure = Some(now);
                upstream.timeouts = match fared {
                    Fared::TimedOut => upstream.timeouts.saturating_add(1),
                    // It might have answered yet.
                    Fared::Overtaken => upstream.timeouts,
                    Fared::Well | Fared::Badly => 0,
                };
            }
        }
    }

    /// A new run begins: who timed out in the last one is asked again.
    pub(crate) fn begin_run(&mut self) {
        self.upstreams
            .iter_mut()
            .for_each(|upstream| upstream.timeouts = 0);
    }

    /// Takes a place in the upstream's pace and says when the query may go.
    pub(crate) fn reserve(&mut self, index: usize, now: Instant) -> Instant {
        let Some(upstream) = self.upstreams.get_mut(index) else {
            return now;
        };
        let interval = Duration::from_secs(1) / upstream.pace.per_second;
        let burst = interval * limits::PACE_BURST;
        // `next` runs one interval ahead per query and never lags more than now; it may lead by a burst for free.
        let due = upstream.pace.next.max(now);
        upstream.pace.next = due + interval;
        due.checked_sub(burst).map_or(now, |free| free.max(now))
    }

    /// Queries may go to this upstream faster: it has shown that it does not fall silent for them.
    pub(crate) fn quicken(&mut self, index: usize, per_second: u32, now: Instant) {
        let upstream = self.upstreams.get_mut(index);
        if let Some(pace) = upstream.map(|upstream| &mut upstream.pace)
            && pace.per_second < per_second
        {
            *pace = Pace {
                next: now,
                per_second,
            };
        }
    }

    /// The upstreams that cool down, and how long ago each failed last.
    pub(crate) fn cooling(&self, now: Instant) -> Vec<(usize, Duration)> {
        let upstreams = self.upstreams.iter().enumerate();
        upstreams
            .filter(|(_, upstream)| self.is_cooling(upstream, now))
            .filter_map(|(index, upstream)| {
                let failed = upstream.last_failure?;
                Some((index, now.saturating_duration_since(failed)))
            })
            .collect()
    }

    /// Lets an upstream cool down that somebody else saw fail so long ago.
    pub(crate) fn demote(&mut self, index: usize, ago: Duration, now: Instant) {
        if let Some(upstream) = self.upstreams.get_mut(index) {
            upstream.consecutive_failures = self.threshold;
            upstream.last_failure = now.checked_sub(ago);
        }
    }

    fn is_cooling(&self, upstream: &Upstream, now: Instant) -> bool {
        let recent = upstream
            .last_failure
            .is_some_and(|failed| now.saturating_duration_since(failed) < self.cooldown);
        upstream.consecutive_failures >= self.threshold && recent
    }
}

/// What one upstream said to one query.
#[derive(Debug)]
pub(crate) enum Said<T> {
    Values(Vec<T>),
    Absent,
    /// Not [`Fared::Well`], and why.
    Failed(Fared, String),
}

/// Whether a lookup may judge an upstream by another's answer: only TXT lookups do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Oracle {
    /// A found value convicts everybody who denied it, and agreed absence acquits.
    Judges,
    /// Absence says nothing about anybody's health.
    Silent,
}

/// One query on its way through the upstreams.
#[derive(Debug)]
pub(crate) struct Walk {
    oracle: Oracle,
    order: std::vec::IntoIter<usize>,
    /// Those that have not answered yet, and when they were asked.
    asked: Vec<(usize, Instant)>,
    absent: Vec<usize>,
    failures: Vec<String>,
}

impl Walk {
    pub(crate) fn new(oracle: Oracle, order: Vec<usize>) -> Self {
        Self {
            oracle,
            order: order.into_iter(),
            asked: Vec::new(),
            absent: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// The upstream to ask now, and when its pace lets the query go.
    pub(crate) fn next(&mut self, health: &mut Health, now: Instant) -> Option<(usize, Instant)> {
        let index = self.order.next()?;
        let due = health.reserve(index, now);
        self.asked.push((index, due));
        Some((index, due))
    }

    /// Whether there is somebody left to ask.
    pub(crate) fn has_more(&self) -> bool {
        self.order.len() > 0
    }

    /// Notes what one said; values end the walk. Who was asked `patience` or longer before them and is silent still was overtaken.
    pub(crate) fn note<T>(
        &mut self,
        index: usize,
        said: Said<T>,
        patience: Duration,
        health: &mut Health,
        now: Instant,
    ) -> Option<Vec<T>> {
        self.asked.retain(|(asked, _)| *asked != index);
        match said {
            Said::Values(values) => {
                health.record(index, Fared::Well, now);
                if self.oracle == Oracle::Judges {
                    self.absent
                        .iter()
                        .for_each(|liar| health.record(*liar, Fared::Badly, now));
                }
                for (silent, asked) in &self.asked {
                    if now.saturating_duration_since(*asked) >= patience {
                        health.record(*silent, Fared::Overtaken, now);
                    }
                }
                return Some(values);
            }
            Said::Absent => self.absent.push(index),
            Said::Failed(fared, why) => {
                health.record(index, fared, now);
                self.failures.push(why);
            }
        }
        None
    }

    /// What a walk without values found.
    pub(crate) fn finish<T>(self, health: &mut Health, now: Instant) -> Lookup<T> {
        if self.oracle == Oracle::Judges {
            self.absent
                .iter()
                .for_each(|honest| health.record(*honest, Fared::Well, now));
        }
        match (
            self.absent.is_empty(),
            self.failures.is_empty(),
            self.asked.is_empty(),
        ) {
            (false, ..) => Lookup::Absent,
            (true, false, _) => Lookup::Unreachable(self.failures.join("; ")),
            (true, true, false) => Lookup::Unreachable("no resolver answered in time".to_owned()),
            (true, true, true) => {
                Lookup::Unreachable("every resolver timed out before in this run".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's behaviour as data: the same order, results and health at each step.
    #[test]
    fn pools_walk_and_remember_as_the_vectors_say() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../vectors/fed_resolver_pool.json"
        );
        let file: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let count = case["upstreams"].as_u64().unwrap() as usize;
            let cooldown = Duration::from_secs_f64(case["cooldown_seconds"].as_f64().unwrap());
            let mut now = Instant::now();
            let threshold = case["failure_threshold"].as_u64().unwrap() as u32;
            let mut health = Health::new(count, threshold, cooldown, None, now);
            for step in case["steps"].as_array().unwrap() {
                now += Duration::from_secs(step["advance_seconds"].as_u64().unwrap());
                let mut walk = Walk::new(Oracle::Judges, health.order(now));
                let (mut asked, mut found) = (Vec::new(), None);
                while found.is_none()
                    && let Some((index, _)) = walk.next(&mut health, now)
                {
                    asked.push(index as u64);
                    let behaviour = step["upstream_behaviour"][index].as_str().unwrap();
                    found = walk.note(
                        index,
                        said(behaviour, case["dnssec_required"] == true),
                        Duration::ZERO,
                        &mut health,
                        now,
                    );
                }
                if found.is_none() {
                    let _: Lookup = walk.finish(&mut health, now);
                }
                let found = found.map_or(serde_json::Value::Null, serde_json::Value::from);
                let failures: Vec<u32> = health
                    .upstreams
                    .iter()
                    .map(|upstream| upstream.consecutive_failures)
                    .collect();
                let preferred: Vec<usize> = (0..count)
                    .filter(|index| !health.is_cooling(&health.upstreams[*index], now))
                    .collect();
                assert_eq!(serde_json::json!(asked), step["asked_in_order"], "{name}");
                assert_eq!(found, step["result"], "{name}");
                assert_eq!(
                    serde_json::json!(failures),
                    step["consecutive_failures"],
                    "{name}"
                );
                assert_eq!(serde_json::json!(preferred), step["preferred"], "{name}");
            }
        }
    }

    fn said(behaviour: &str, dnssec_required: bool) -> Said<String> {
        let (behaviour, validated) = behaviour
            .strip_suffix("+AD")
            .map_or((behaviour, false), |bare| (bare, true));
        let answered = !matches!(behaviour, "TIMEOUT" | "NETERR" | "SERVFAIL");
        match behaviour {
            _ if answered && dnssec_required && !validated => {
                Said::Failed(Fared::Badly, "no AD".into())
            }
            "NXDOMAIN" | "NODATA" | "EMPTY" => Said::Absent,
            "TIMEOUT" => Said::Failed(Fared::TimedOut, "timeout".into()),
            "NETERR" | "SERVFAIL" => Said::Failed(Fared::Badly, "error".into()),
            other => Said::Values(vec![other.strip_prefix("TXT:").unwrap().replace('|', "")]),
        }
    }

    #[test]
    fn an_upstream_that_timed_out_twice_in_a_row_is_asked_no_more() {
        let now = Instant::now();
        let mut health = Health::new(2, 1, Duration::from_secs(60), Some(2), now);
        health.record(0, Fared::TimedOut, now);
        health.record(0, Fared::Well, now);
        health.record(0, Fared::TimedOut, now);
        assert_eq!(health.order(now), [1, 0]);
        health.record(0, Fared::TimedOut, now);
        assert_eq!(health.order(now + Duration::from_secs(3600)), [1]);
        let walk = Walk::new(Oracle::Judges, Vec::new());
        assert!(matches!(
            walk.finish::<String>(&mut health, now),
            Lookup::Unreachable(_)
        ));
    }

    /// The state is that of somebody who waits for each timeout; only the run's count of timeouts does not grow.
    #[test]
    fn who_is_silent_while_another_answers_is_asked_later_but_not_given_up() {
        let now = Instant::now();
        let later = now + Duration::from_millis(600);
        let mut health = Health::new(3, 1, Duration::from_secs(60), Some(1), now);
        let mut walk = Walk::new(Oracle::Judges, health.order(now));
        walk.next(&mut health, now);
        walk.next(&mut health, later);
        walk.next(&mut health, later);
        let patience = Duration::from_millis(500);
        let said = Said::Values(vec!["v"]);
        assert!(walk.note(1, said, patience, &mut health, later).is_some());
        assert_eq!(
            health.order(later),
            [1, 2, 0],
            "only the one that had its time"
        );
        assert_eq!(health.upstreams[0].timeouts, 0);
    }

    #[test]
    fn a_new_run_asks_those_again_that_timed_out_in_the_last() {
        let now = Instant::now();
        let mut health = Health::new(1, 1, Duration::from_secs(60), Some(1), now);
        health.record(0, Fared::TimedOut, now);
        assert!(health.order(now).is_empty());
        health.begin_run();
        assert_eq!(health.order(now), [0]);
    }

    #[test]
    fn queries_to_one_upstream_are_paced_after_the_burst() {
        let now = Instant::now();
        let mut health = Health::new(2, 1, Duration::from_secs(60), None, now);
        let due: Vec<Duration> = (0..250).map(|_| health.reserve(0, now) - now).collect();
        assert!(due[..150].iter().all(Duration::is_zero), "150 at once");
        assert!(due[151] > Duration::ZERO);
        assert_eq!(
            due[249] - due[199],
            Duration::from_secs(1),
            "then 50 a second"
        );
        assert_eq!(
            health.reserve(1, now),
            now,
            "each upstream has its own pace"
        );
        let later = now + Duration::from_secs(60);
        assert_eq!(health.reserve(0, later), later);

        health.quicken(1, limits::RESOLVER_PACE_PER_SECOND, now);
        let due: Vec<Duration> = (0..1151).map(|_| health.reserve(1, now) - now).collect();
        assert!(due[..150].iter().all(Duration::is_zero));
        assert_eq!(due[1150] - due[150], Duration::from_secs(1));

        let later = now + Duration::from_secs(60);
        for pace in [
            limits::PROVEN_PACE_PER_SECOND,
            limits::RESOLVER_PACE_PER_SECOND,
        ] {
            health.quicken(1, pace, later);
        }
        let due = (0..16_150).map(|_| health.reserve(1, later) - later);
        let last = due.max().unwrap();
        assert!(
            last <= Duration::from_secs(1),
            "no word makes it slower: {last:?}"
        );
    }
}
