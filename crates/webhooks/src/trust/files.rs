//! Files of authorities as they are at this moment, and clients that believe them: a file that an operator replaces counts from the next
//! request on, without a restart. Of one that cannot be used any more a warning tells, and what it held before goes on counting.
//!
//! The files are small and on this machine, and are looked at once a request: a few microseconds beside a handshake.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Certificate, Client, ClientBuilder};

use super::Authorities;

/// Whose certificates are believed besides the platform's roots, from any number of files.
#[derive(Debug, Clone, Default)]
pub struct Trust(Vec<Source>);

#[derive(Debug, Clone)]
enum Source {
    Fixed(Authorities),
    File(Arc<Watched>),
}

#[derive(Debug)]
struct Watched {
    /// The setting that names it.
    variable: &'static str,
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    stamp: Option<Stamp>,
    authorities: Authorities,
    /// How often other authorities took the place of those before.
    changes: u64,
}

/// What tells a file from what it was: a replaced one is another, a rewritten one has another time or length, and one that may be read now
/// has changed, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
        Some(Self { inode: found.ino(), modified, changed, bytes: found.size() })
    }
}

impl Trust {
    /// What a setting names a file for.
    ///
    /// # Errors
    /// Why the file cannot be used, in an operator's words.
    pub fn file(variable: &'static str, path: &Path) -> Result<Self, String> {
        // Before it is read: what is written meanwhile is another file at the next look.
        let stamp = Stamp::of(path);
        let held = Held { stamp, authorities: read(path)?, changes: 0 };
        Ok(Self(vec![Source::File(Arc::new(Watched { variable, path: path.to_owned(), held: Mutex::new(held) }))]))
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// What they hold now, with a number that changes whenever that does.
    fn now(&self) -> (u64, Vec<Certificate>) {
        let (mut changes, mut certificates) = (0, Vec::new());
        for source in &self.0 {
            match source {
                Source::Fixed(authorities) => certificates.extend(authorities.certificates()),
                Source::File(file) => {
                    let held = file.look();
                    changes += held.0;
                    certificates.extend(held.1.certificates());
                }
            }
        }
        (changes, certificates)
    }
}

impl From<&Trust> for Trust {
    fn from(trust: &Trust) -> Self {
        trust.clone()
    }
}

impl From<&Authorities> for Trust {
    fn from(authorities: &Authorities) -> Self {
        Self(vec![Source::Fixed(authorities.clone())])
    }
}

impl Watched {
    fn look(&self) -> (u64, Authorities) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp != held.stamp {
            // Told once a change, not once a request.
            held.stamp = stamp;
            let (variable, file) = (self.variable, self.path.display());
            match read(&self.path) {
                Ok(authorities) => {
                    tracing::info!(variable, %file, certificates = authorities.count(), "the authorities were read anew");
                    held.authorities = authorities;
                    held.changes += 1;
                }
                Err(reason) => {
                    tracing::warn!(variable, %file, reason, "the file of authorities cannot be used; those that it held go on counting");
                }
            }
        }
        (held.changes, held.authorities.clone())
    }
}

fn read(path: &Path) -> Result<Authorities, String> {
    let pem = fs::read(path).map_err(|error| error.to_string())?;
    Authorities::parse(&pem).map_err(|error| error.to_string())
}

/// A client that believes what a [`Trust`] holds, and is made anew when that changes.
pub struct Believing {
    trust: Trust,
    build: Box<dyn Fn() -> ClientBuilder + Send + Sync>,
    made: Mutex<(u64, Client)>,
}

impl Believing {
    /// Everything but whom to believe is `build`'s to say.
    ///
    /// # Errors
    /// Where no client can be made.
    pub fn new(
        trust: impl Into<Trust>,
        build: impl Fn() -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let trust = trust.into();
        let (changes, certificates) = trust.now();
        let client = made(build(), certificates)?;
        Ok(Self { trust, build: Box::new(build), made: Mutex::new((changes, client)) })
    }

    /// For one request. What is under way with an earlier one ends as it began.
    pub fn client(&self) -> Client {
        let mut known = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, certificates) = self.trust.now();
        if changes != known.0 {
            match made((self.build)(), certificates) {
                Ok(client) => *known = (changes, client),
                Err(error) => {
                    tracing::warn!(%error, "no client can be made that believes the new authorities; the old one goes on")
                }
            }
        }
        known.1.clone()
    }
}

fn made(builder: ClientBuilder, certificates: Vec<Certificate>) -> Result<Client, reqwest::Error> {
    if certificates.is_empty() { builder.build() } else { builder.tls_certs_merge(certificates).build() }
}

impl fmt::Debug for Believing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Believing").field(&self.trust).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_that_is_made_readable_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let before = Stamp::of(&file).unwrap();
        assert_eq!(Stamp::of(&file), Some(before));
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while Stamp::of(&file) == Some(before) {
            assert!(std::time::Instant::now() < give_up, "its time did not change");
            // A file's times go by ticks of the system's clock.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        assert_eq!(Stamp::of(&file).unwrap().modified, before.modified);
    }
}
