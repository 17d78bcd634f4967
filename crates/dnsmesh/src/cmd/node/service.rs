//! What the node tells the service manager that started it (sd_notify(3)): ready, reloading, stopping, and that it is alive.
//!
//! Without a service manager nothing is sent. It decides nothing about the node.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use dmp_node::context::Context;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::{AbortHandle, spawn, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

/// The way to the service manager.
pub(super) struct Service {
    socket: Option<OsString>,
    /// How often it wants to hear from us.
    watchdog: Option<Duration>,
}

impl Service {
    /// As the variables of this process say.
    pub(super) fn of_process() -> Self {
        let for_us =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let microseconds = std::env::var("WATCHDOG_USEC").ok();
        let microseconds = microseconds.and_then(|text| text.parse().ok());
        Self {
            socket: std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            watchdog: microseconds
                .filter(|microseconds| for_us && *microseconds > 0)
                .map(Duration::from_micros),
        }
    }

    /// Says that the settings are being read again; [`Service::ready`] ends that.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Says that the node answers again as its settings ask, with one line for `systemctl status`.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// Sends one state. A service manager that does not listen is no reason to stop.
    pub(super) fn say(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = send(socket, state)
        {
            tracing::warn!(%error, "the service manager was not told");
        }
    }

    /// Says twice per interval that the node is alive, for as long as its store lets itself be read.
    pub(super) fn watch(&self, context: &Arc<Context>) -> AbortHandle {
        let (socket, every) = (self.socket.clone(), self.watchdog);
        let context = Arc::clone(context);
        let task = spawn(async move {
            let (Some(socket), Some(every)) = (socket, every) else {
                return;
            };
            let mut ticks = interval(every / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let context = Arc::clone(&context);
                let answers = spawn_blocking(move || context.store().read(|_| Ok(())));
                match answers.await {
                    Ok(Ok(())) => drop(send(&socket, "WATCHDOG=1")),
                    _ => tracing::error!(
                        "the store does not answer: the watchdog is not told that the node is alive"
                    ),
                }
            }
        });
        task.abort_handle()
    }
}

fn send(socket: &OsString, state: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return datagram.send_to_addr(state.as_bytes(), &address).map(drop);
    }
    datagram.send_to(state.as_bytes(), socket).map(drop)
}
