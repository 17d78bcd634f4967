//! A certificate with its chain and key, checked before anything is served with it.
//!
//! It does not ask whether clients trust it: that is theirs to say.

use super::validity::Validity;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Seconds before its end at which a certificate is worth a warning: two weeks, or a quarter of a life that is short.
const SOON: u64 = 14 * 86_400;
/// Seconds between two warnings about one certificate.
const WARN_EVERY: u64 = 86_400;

/// A chain whose leaf has the key beside it.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

/// Why chain and key cannot be used: which of the two is to blame, and one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    Chain(String),
    Key(String),
}

impl CertificateFault {
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Chain(reason) | Self::Key(reason) => reason,
        }
    }
}

impl Certificate {
    /// Reads a chain, the leaf first, and the key of the leaf, both PEM. Every certificate must parse and the key must be the leaf's.
    pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateFault> {
        let of_chain = |error: &dyn ToString| CertificateFault::Chain(error.to_string());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| of_chain(&error))?;
        for certificate in &chain {
            ParsedCertificate::try_from(certificate).map_err(|error| of_chain(&error))?;
        }
        let leaf = chain.first();
        let leaf = leaf.ok_or_else(|| of_chain(&"no certificate in PEM form"))?;
        let validity = Validity::of(leaf).ok_or_else(|| of_chain(&"no period of validity"))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| CertificateFault::Key("no private key in PEM form".to_owned()))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| CertificateFault::Key(error.to_string()))?;
        Ok(Self {
            key: Arc::new(key),
            validity,
        })
    }

    /// One for these names that nobody trusts: signed by itself, with a key that no file holds, and long expired, so that
    /// monitoring sees that there is no certificate.
    pub(crate) fn placeholder(names: &[String]) -> Result<Self, String> {
        let made = || -> Result<(String, Zeroizing<String>), rcgen::Error> {
            let mut parameters = rcgen::CertificateParams::new(names)?;
            parameters.not_before = rcgen::date_time_ymd(1970, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(1970, 1, 2);
            let key = rcgen::KeyPair::generate()?;
            let chain = parameters.self_signed(&key)?.pem();
            Ok((chain, Zeroizing::new(key.serialize_pem())))
        };
        let (chain, key) = made().map_err(|error| error.to_string())?;
        Self::from_pem(chain.as_bytes(), key.as_bytes()).map_err(CertificateFault::into_reason)
    }

    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it is for all of these names.
    pub(crate) fn covers(&self, names: &[String]) -> bool {
        let leaf = self.key.end_entity_cert();
        let Ok(leaf) = leaf.and_then(ParsedCertificate::try_from) else {
            return false;
        };
        names.iter().all(|name| {
            let name = ServerName::try_from(name.as_str());
            name.is_ok_and(|name| rustls::client::verify_server_name(&leaf, &name).is_ok())
        })
    }

    /// Whether its end is near, or past.
    fn ends_soon(&self, now: u64) -> bool {
        let left = self.validity.not_after.saturating_sub(now);
        left < SOON.min(self.validity.life() / 4)
    }
}

/// Tells in the log, once a day, that a certificate ends soon.
#[derive(Debug, Default)]
pub(crate) struct ExpiryWarning {
    told_at: Option<u64>,
}

impl ExpiryWarning {
    pub(crate) fn check(&mut self, certificate: &Certificate, now: u64) {
        if !self.is_due(certificate, now) {
            return;
        }
        match certificate.validity.not_after.checked_sub(now) {
            None | Some(0) => tracing::error!("the certificate of the HTTP listener has expired"),
            Some(left) => tracing::warn!(
                "the certificate of the HTTP listener expires in {} days",
                left / 86_400
            ),
        }
    }

    fn is_due(&mut self, certificate: &Certificate, now: u64) -> bool {
        let is_told = |at| now.saturating_sub(at) < WARN_EVERY;
        let is_due = certificate.ends_soon(now) && !self.told_at.is_some_and(is_told);
        if is_due {
            self.told_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["node.test", "www.node.test"];

    fn made(days: u8) -> (String, String) {
        let mut parameters = rcgen::CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2027, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2027, 1, 1 + days);
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = parameters.self_signed(&key).unwrap().pem();
        (chain, key.serialize_pem())
    }

    #[test]
    fn a_certificate_covers_its_names_only() {
        let (chain, key) = made(30);
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let covers = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            certificate.covers(&names)
        };
        assert!(covers(&NAMES) && covers(&["NODE.test"]));
        assert!(!covers(&["node.test", "other.test"]) && !covers(&["a b"]));
    }

    #[test]
    fn a_broken_certificate_anywhere_in_the_chain_is_refused() {
        let (chain, key) = made(30);
        let broken = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n";
        let chain = format!("{chain}{broken}");
        let fault = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(fault, CertificateFault::Chain(_)), "{fault:?}");
        let (chain, _) = made(30);
        let (_, stranger) = made(30);
        let fault = Certificate::from_pem(chain.as_bytes(), stranger.as_bytes()).unwrap_err();
        assert!(matches!(fault, CertificateFault::Key(_)), "{fault:?}");
    }

    #[test]
    fn the_end_is_told_once_a_day_from_two_weeks_before_or_a_quarter_of_the_life() {
        let start = 1_798_761_600;
        let day = 86_400;
        for (days, first) in [(30, 30 * day * 3 / 4), (4, 3 * day)] {
            let (chain, key) = made(days);
            let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
            assert_eq!(certificate.validity().not_before, start);
            let mut warning = ExpiryWarning::default();
            assert!(!warning.is_due(&certificate, start + first));
            assert!(warning.is_due(&certificate, start + first + 1));
            assert!(!warning.is_due(&certificate, start + first + day));
            assert!(warning.is_due(&certificate, start + first + 1 + day));
            assert!(warning.is_due(&certificate, start + 1_000 * day));
        }
    }
}
