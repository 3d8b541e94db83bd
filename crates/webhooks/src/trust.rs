//! Whose certificates are believed besides the platform's roots, and why a certificate was not. Pure; what reads files is [`files`].
//!
//! An authority that is named here changes nothing of what may be dialled ([`crate::address`]): it vouches for names alone.

pub mod files;

use std::error::Error as _;
use std::fmt;
use std::io;

use reqwest::Certificate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, Error, RootCertStore};

/// Certificates of private authorities: what `TRUSTED_CA_FILE` and `WEBHOOK_CA_FILE` name.
#[derive(Clone, Default)]
pub struct Authorities(Vec<Certificate>);

/// Why a file of authorities cannot be used. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// Not one block of PEM, or a damaged one.
    #[error("no certificate in PEM form is in it, or a damaged one")]
    NotPem,
    /// A block that no verifier takes.
    #[error("certificate {0} in it cannot be read")]
    Unreadable(usize),
}

impl Authorities {
    /// What the variable wants.
    pub const WANTS: &str = "a file with one or more certificates of authorities, in PEM form";

    /// Every certificate of a PEM file; a private key or anything else beside them is passed over, a file without a certificate refused.
    pub fn parse(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.ok().filter(|found| !found.is_empty()).ok_or(AuthoritiesError::NotPem)?;
        let mut store = RootCertStore::empty();
        let certificates = found.into_iter().enumerate().map(|(n, found)| {
            let unreadable = AuthoritiesError::Unreadable(n + 1);
            store.add(found.clone()).map_err(|_| unreadable)?;
            Certificate::from_der(&found).map_err(|_| unreadable)
        });
        certificates.collect::<Result<_, _>>().map(Self)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.0.clone()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

/// Why a request failed that failed for TLS, in an operator's words.
pub fn untrusted(error: &reqwest::Error) -> Option<&'static str> {
    let mut cause = error.source();
    while let Some(found) = cause {
        let inner = found.downcast_ref::<io::Error>().and_then(innermost);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            return Some(reason(tls));
        }
        cause = found.source();
    }
    None
}

/// What an error of a connection is about: hyper wraps the resolver's own error, and TLS's twice. `source` passes over what is wrapped.
pub(crate) fn innermost(io: &io::Error) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
    let inner = io.get_ref()?;
    inner.downcast_ref::<io::Error>().map_or(Some(inner), innermost)
}

/// Why TLS came to nothing, in an operator's words; none of them names the host, for the name may be a secret's place.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => "it showed no certificate",
        Error::InvalidMessage(_) => "what answers there does not speak TLS",
        Error::PeerIncompatible(_) | Error::AlertReceived(_) => "it and we agree on no way of TLS (1.2 or 1.3)",
        _ => "TLS came to nothing",
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is of an authority that is not trusted; the operator can name a private one (TRUSTED_CA_FILE, or \
             WEBHOOK_CA_FILE for receivers of webhooks alone)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "its certificate is not valid yet",
        CertificateError::Revoked => "its certificate was revoked",
        CertificateError::BadSignature => "its certificate is not signed by whom it names",
        CertificateError::BadEncoding => "its certificate cannot be read",
        _ => "its certificate is not one for a server that may be believed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused() {
        let garbled = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for wrong in ["", "hooks.internal", garbled, key] {
            assert_eq!(Authorities::parse(wrong.as_bytes()).unwrap_err(), AuthoritiesError::NotPem, "{wrong:?}");
        }
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Authorities::parse(hollow.as_bytes()).unwrap_err(), AuthoritiesError::Unreadable(1));
    }
}
