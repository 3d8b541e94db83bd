//! The process's settings, checked and typed.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that the process is told from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The browser's program.
    pub browser: PathBuf,
    /// Where practice rooms live, such as `http://127.0.0.1:8400`.
    pub practice_origin: Option<String>,
    /// Signal packs that go before the built-in ones.
    pub packs: Option<PathBuf>,
    /// Where private folders are made; the system's temporary folder if absent.
    pub scratch: Option<PathBuf>,
    /// Where to write the address that is really listened on.
    pub port_file: Option<PathBuf>,
}

/// Checks a practice room's origin: http or https, a host, nothing else.
pub fn practice_origin(text: &str) -> Result<String, String> {
    let wanted = "wants an origin such as http://127.0.0.1:8400";
    let url = url::Url::parse(text).map_err(|_| wanted.to_owned())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    if plain && url.host().is_some() { Ok(url.origin().ascii_serialization()) } else { Err(wanted.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_alone() {
        assert_eq!(practice_origin("http://127.0.0.1:8400/").as_deref(), Ok("http://127.0.0.1:8400"));
        for bad in ["127.0.0.1:8400", "file:///etc", "http://127.0.0.1/meet", "http://u@127.0.0.1", "http://h/?a"] {
            assert!(practice_origin(bad).is_err(), "{bad}");
        }
    }
}
