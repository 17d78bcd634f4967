//! Panics as log lines: one each, with the place in the code and without what was being worked on.

use crate::repeated::Repeated;
use std::collections::HashMap;
use std::panic;
use std::sync::{Mutex, PoisonError};

/// Logs every panic of the process from now on instead of printing it; those at one place at most once a minute, since
/// whoever finds a bug may find it often. For the program that runs a node; a library does
/// not call it.
///
/// Where a panic is caught it is counted and the request answered (SERVFAIL, 500); the line is written here, so there is
/// exactly one. The panic's own text may hold what a stranger sent and is shown at debug level only.
pub fn log_panics() {
    let places: Mutex<HashMap<String, Repeated>> = Mutex::default();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_else(|| "an unknown place".to_owned());
        let told = {
            let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
            places.entry(place.clone()).or_default().tell()
        };
        if let Some(untold) = told {
            tracing::error!(untold, "a bug: panic at {place}; please report this line");
        }
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::debug!(text, "the panic's own text");
    }));
}
