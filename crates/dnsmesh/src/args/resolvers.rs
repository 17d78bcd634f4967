//! The command line of `resolvers` (cli.md 3.11).

use std::time::Duration;

use clap::Subcommand;
use dmp_net::Entry;

/// `resolvers`
#[derive(Debug, Subcommand)]
pub(crate) enum ResolversCommand {
    /// Find resolvers that answer from here
    Discover(DiscoverArgs),
    /// Show the configured resolvers
    List,
    /// Ask resolvers what they can do, and tell it as a table
    Test(TestArgs),
}

/// `resolvers discover`
#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {
    /// Write those that answer to the configuration
    #[arg(long)]
    pub(crate) save: bool,
    /// With --save: drop the present entries, also those with a port
    #[arg(long, requires = "save")]
    pub(crate) replace: bool,
    /// Seconds that one resolver has
    #[arg(long, value_name = "SECONDS", default_value = "2.0", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Whom to ask instead of the well-known public resolvers, comma separated
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) candidates: Vec<String>,
}

/// `resolvers test`
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Resolvers to test instead of the configured ones: an entry as dns_resolvers takes it
    #[arg(value_name = "RESOLVER")]
    pub(crate) resolvers: Vec<Entry>,
    /// The well-known public resolvers too
    #[arg(long)]
    pub(crate) public: bool,
    /// Seconds that one question has
    #[arg(long, value_name = "SECONDS", default_value = "2.0", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

/// A time of up to a minute.
fn seconds(text: &str) -> Result<Duration, String> {
    let time = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero() && *time <= Duration::from_secs(60))
        .ok_or_else(|| "not a number of seconds above 0 and up to 60".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_positive_number_of_seconds() {
        assert_eq!(seconds("2.0"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds(".25"), Ok(Duration::from_millis(250)));
        for wrong in ["", "0", "-1", "61", "nan", "inf", "1e300", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
