//! Conditions that come again and again, often because a stranger wants them to, logged at a bounded rate.
//!
//! The first occurrence is told at once, further ones once a minute with their number; nothing is lost from the metrics.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines about one condition.
const PAUSE: Duration = Duration::from_secs(60);

/// One condition.
#[derive(Debug, Default)]
pub(crate) struct Repeated(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Repeated {
    /// A condition that has not occurred; for a `static` at the place where it is met.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State {
            told: None,
            untold: 0,
        }))
    }

    /// Notes an occurrence. Gives the number of earlier ones that were not told if this one is to be told.
    pub(crate) fn tell(&self) -> Option<u64> {
        self.tell_at(Instant::now())
    }

    fn tell_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon = |told| now.saturating_duration_since(told) < PAUSE;
        if state.told.is_some_and(is_soon) {
            state.untold += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

/// Logs like `tracing::event!` with the level, and `untold` as one more field, if the condition at this place of the code
/// was not told within the last minute.
macro_rules! log_repeated {
    ($level:ident, $($arguments:tt)+) => {{
        static CONDITION: $crate::repeated::Repeated = $crate::repeated::Repeated::new();
        if let Some(untold) = CONDITION.tell() {
            tracing::$level!(untold, $($arguments)+);
        }
    }};
}
pub(crate) use log_repeated;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_told_once_a_minute_with_the_number_of_those_between() {
        let condition = Repeated::new();
        let start = Instant::now();
        let at = |seconds| condition.tell_at(start + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(30), at(59)], [None; 3]);
        assert_eq!(at(60), Some(3));
        assert_eq!(at(61), None);
        assert_eq!(at(500), Some(1));
    }
}
