//! Where an endpoint lies: an address that was looked at, so that odd notations of a forbidden host are refused before anything is dialled.

use std::net::IpAddr;

use url::{Host, Url};

use crate::address::Allowed;

/// Longest address.
const LONGEST: usize = 2_048;

/// An address that may be posted to, as far as can be told without asking for its host's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

/// Why an address is refused. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No address.
    #[error("url wants an absolute https address of at most {LONGEST} characters")]
    Malformed,
    /// `http`, and neither host nor address is allowed.
    #[error("url wants https: http is for receivers that the operator allows (WEBHOOK_ALLOW)")]
    Scheme,
    /// A name and a password within.
    #[error("url holds a user name or a password; put a token into the path, and check the signature")]
    Credentials,
    /// A host that is an address, and not a public one.
    #[error("url names an address that is not public; the operator can allow it (WEBHOOK_ALLOW)")]
    Address,
}

impl Target {
    /// Looks at an address.
    pub fn parse(text: &str, allowed: &Allowed) -> Result<Self, TargetError> {
        if text.len() > LONGEST || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::Malformed);
        }
        let mut url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(TargetError::Malformed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        // The parser has brought 0x7f.1, 2130706433 and the like into one form.
        let is_trusted = match url.host() {
            Some(Host::Ipv4(address)) => allows_literal(address.into(), allowed)?,
            Some(Host::Ipv6(address)) => allows_literal(address.into(), allowed)?,
            Some(Host::Domain(name)) => allowed.names(name),
            None => return Err(TargetError::Malformed),
        };
        if url.scheme() == "http" && !is_trusted {
            return Err(TargetError::Scheme);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// What is posted to.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// For the log: paths and queries may hold tokens.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// True where the operator allows it; a public one needs no allowance.
fn allows_literal(address: IpAddr, allowed: &Allowed) -> Result<bool, TargetError> {
    if allowed.admits(address) { Ok(allowed.holds(address)) } else { Err(TargetError::Address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str, allowed: &str) -> Result<String, TargetError> {
        Target::parse(text, &Allowed::parse(allowed).unwrap()).map(|target| target.url().to_string())
    }

    #[test]
    fn odd_notations_of_a_forbidden_host_are_refused() {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "10.0.0.1",
            "100.64.1.1",
            "①②⑦.⓪.⓪.①",
            "%31%32%37.0.0.1",
            "127。0。0。1",
        ];
        for host in hosts {
            for port in ["", ":443", ":8080"] {
                let text = format!("https://{host}{port}/hook");
                let verdict = verdict(&text, "");
                assert!(matches!(verdict, Err(TargetError::Address | TargetError::Malformed)), "{text}: {verdict:?}");
            }
        }
    }

    #[test]
    fn only_https_without_credentials_is_taken() {
        assert_eq!(verdict("https://hooks.example.com/a?b=c#d", ""), Ok("https://hooks.example.com/a?b=c".into()));
        assert_eq!(verdict("https://93.184.216.34/", ""), Ok("https://93.184.216.34/".into()));
        assert_eq!(verdict("http://hooks.example.com/", ""), Err(TargetError::Scheme));
        assert_eq!(verdict("http://93.184.216.34/", ""), Err(TargetError::Scheme));
        for wrong in [
            "",
            "hooks.example.com",
            "ftp://x/",
            "file:///etc/passwd",
            "gopher://x/",
            "https://",
            "javascript:1",
            "https://a b/",
            "https://x/\u{0}",
            "\nhttps://x/",
            "https://[fe80::1%25eth0]/",
            "https://exa\u{ad}mple\u{7f}/",
        ] {
            assert_eq!(verdict(wrong, ""), Err(TargetError::Malformed), "{wrong:?}");
        }
        for wrong in ["https://user@x.example/", "https://:p@x.example/", "https://127.0.0.1@x.example/"] {
            assert_eq!(verdict(wrong, ""), Err(TargetError::Credentials), "{wrong}");
        }
        assert_eq!(verdict(&format!("https://x.example/{}", "x".repeat(3_000)), ""), Err(TargetError::Malformed));
    }

    #[test]
    fn what_the_operator_allows_may_do_without_tls() {
        assert_eq!(verdict("http://127.0.0.1:8080/x", "127.0.0.0/8"), Ok("http://127.0.0.1:8080/x".into()));
        assert_eq!(verdict("http://hooks.internal/x", "hooks.internal"), Ok("http://hooks.internal/x".into()));
        // A name is dialled without TLS only where it is itself allowed: a network says nothing of whose a name is.
        assert_eq!(verdict("http://hooks.internal/x", "10.0.0.0/8"), Err(TargetError::Scheme));
        assert_eq!(verdict("https://10.2.0.1/x", "10.1.0.0/16"), Err(TargetError::Address));
    }
}
