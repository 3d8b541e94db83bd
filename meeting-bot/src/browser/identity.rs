//! A signed-in identity for the browser: a profile folder that is copied, or a storage state whose cookies and local storage are set
//! before the call's page is opened.
//!
//! Nothing of it is ever written back, logged or shown: errors say where something is wrong and never what stands there.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

/// A storage state that is larger is none.
const MOST_STATE_BYTES: u64 = 8 << 20;
const MOST_COOKIES: usize = 5_000;
/// A profile that is larger would not fit into a bot's private folder.
const MOST_PROFILE_BYTES: u64 = 1 << 30;
const MOST_PROFILE_FILES: u32 = 50_000;
const DEEPEST: u32 = 24;
/// What a browser makes anew, or what would tie the copy to the browser that wrote the original.
const NOT_COPIED: &[&str] = &[
    "Cache",
    "Code Cache",
    "GPUCache",
    "DawnGraphiteCache",
    "DawnWebGPUCache",
    "GrShaderCache",
    "GraphiteDawnCache",
    "ShaderCache",
    "CacheStorage",
    "Crashpad",
    "BrowserMetrics",
    "component_crx_cache",
    "optimization_guide_model_store",
    "Safe Browsing",
    "SingletonLock",
    "SingletonCookie",
    "SingletonSocket",
    "lockfile",
];

/// Why an identity cannot be used. Holds no value, no name of a cookie and no origin.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file or folder could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is too large to be one.
    #[error("is larger than {0} MiB")]
    TooLarge(u64),
    /// It is no JSON of the expected shape.
    #[error("is no storage state (line {line}, column {column}); it wants {{\"cookies\": […], \"origins\": […]}}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A field is unusable.
    #[error("{what} {number} {problem}")]
    Field {
        /// `cookie`, `origin`.
        what: &'static str,
        /// From 1, in the file's order.
        number: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is neither a cookie nor local storage in it.
    #[error("holds neither a cookie nor local storage")]
    Empty,
    /// The folder is no profile.
    #[error("is no Chromium profile folder: neither \"Local State\" nor \"Default\" is in it")]
    NoProfile,
}

/// What identity a browser takes; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// A profile folder, only ever read.
    pub profile: Option<PathBuf>,
    /// Cookies and local storage.
    pub state: Option<StorageState>,
}

/// A checked storage state, in the shape that Playwright writes. `Debug` counts and shows nothing.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct StorageState {
    #[serde(default)]
    cookies: Vec<Value>,
    #[serde(default)]
    origins: Vec<Origin>,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
struct Origin {
    origin: String,
    #[serde(default, rename = "localStorage")]
    local_storage: Vec<Item>,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
struct Item {
    name: String,
    value: String,
}

impl std::fmt::Debug for StorageState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StorageState({} cookies, {} origins)", self.cookies.len(), self.origins.len())
    }
}

impl StorageState {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        if path.metadata()?.len() > MOST_STATE_BYTES {
            return Err(IdentityError::TooLarge(MOST_STATE_BYTES >> 20));
        }
        Self::parse(&std::fs::read(path)?)
    }

    fn parse(text: &[u8]) -> Result<Self, IdentityError> {
        // serde's own message may quote a value.
        let state: Self =
            serde_json::from_slice(text).map_err(|error| IdentityError::Syntax { line: error.line(), column: error.column() })?;
        if state.cookies.len() > MOST_COOKIES {
            return Err(IdentityError::Field { what: "cookie", number: MOST_COOKIES + 1, problem: "is more than can be set" });
        }
        for (index, cookie) in state.cookies.iter().enumerate() {
            if let Some(problem) = cookie_problem(cookie) {
                return Err(IdentityError::Field { what: "cookie", number: index + 1, problem });
            }
        }
        for (index, origin) in state.origins.iter().enumerate() {
            let url = url::Url::parse(&origin.origin).ok();
            let is_origin = url.is_some_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == origin.origin);
            if !is_origin {
                let problem = "has no origin such as https://meet.google.com";
                return Err(IdentityError::Field { what: "origin", number: index + 1, problem });
            }
        }
        let is_empty = state.cookies.is_empty() && state.origins.iter().all(|origin| origin.local_storage.is_empty());
        if is_empty { Err(IdentityError::Empty) } else { Ok(state) }
    }

    /// The cookies, as the protocol takes them.
    pub(super) fn cookies(&self) -> Value {
        self.cookies.iter().map(cookie_parameters).collect()
    }

    /// A script that lays the local storage of the origin that it finds itself in, where the page has laid none itself.
    pub(super) fn local_storage_script(&self) -> Option<String> {
        let items: BTreeMap<&str, Vec<[&str; 2]>> = self
            .origins
            .iter()
            .filter(|origin| !origin.local_storage.is_empty())
            .map(|origin| {
                let items = origin.local_storage.iter().map(|item| [item.name.as_str(), item.value.as_str()]).collect();
                (origin.origin.as_str(), items)
            })
            .collect();
        let script = "((all) => { try { for (const [name, value] of all[location.origin] || []) \
                      if (localStorage.getItem(name) === null) localStorage.setItem(name, value); } catch (error) { } })";
        let items = serde_json::to_string(&items).ok().filter(|_| !items.is_empty())?;
        Some(format!("{script}({items})"))
    }

    /// Every value in it, for taking them out of what is written down.
    pub fn secrets(&self) -> Vec<String> {
        let cookies = self.cookies.iter().filter_map(|cookie| cookie["value"].as_str().map(str::to_owned));
        let items = self.origins.iter().flat_map(|origin| &origin.local_storage).map(|item| item.value.clone());
        // "1" and "true" are no secrets, and all over every text.
        cookies.chain(items).filter(|value| value.chars().count() >= 6).collect()
    }
}

fn cookie_problem(cookie: &Value) -> Option<&'static str> {
    let text = |name: &str| cookie[name].as_str();
    let checks = [
        (text("name").is_some_and(|name| !name.is_empty()), "has no name"),
        (text("value").is_some(), "has no value"),
        (text("domain").is_some_and(|domain| !domain.trim_matches('.').is_empty()), "has no domain"),
        (text("path").is_none_or(|path| path.starts_with('/')), "has a path that does not start with /"),
        (cookie["expires"].is_null() || cookie["expires"].is_number(), "has an expires that is no number"),
        (cookie["httpOnly"].is_null() || cookie["httpOnly"].is_boolean(), "has an httpOnly that is neither true nor false"),
        (cookie["secure"].is_null() || cookie["secure"].is_boolean(), "has a secure that is neither true nor false"),
        (
            cookie["sameSite"].is_null() || matches!(text("sameSite"), Some("Strict" | "Lax" | "None")),
            "has a sameSite that is none of Strict, Lax and None",
        ),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, problem)| problem)
}

fn cookie_parameters(cookie: &Value) -> Value {
    let mut parameters = json!({ "path": "/" });
    for name in ["name", "value", "domain", "path", "httpOnly", "secure", "sameSite"] {
        if !cookie[name].is_null() {
            parameters[name] = cookie[name].clone();
        }
    }
    // -1 means for this session alone.
    if cookie["expires"].as_f64().is_some_and(|expires| expires > 0.0) {
        parameters["expires"] = cookie["expires"].clone();
    }
    parameters
}

/// Says whether a folder can be a profile.
pub fn check_profile(folder: &Path) -> Result<(), IdentityError> {
    std::fs::read_dir(folder)?;
    let is_profile = folder.join("Local State").is_file() || folder.join("Default").is_dir();
    if is_profile { Ok(()) } else { Err(IdentityError::NoProfile) }
}

/// Copies a profile into an existing folder of ours. Links are followed where they stay inside (a mounted secret consists of such),
/// everything else that is neither file nor folder is left out.
pub fn copy_profile(from: &Path, to: &Path) -> Result<(), IdentityError> {
    let mut copy = Copy { root: from.canonicalize()?, bytes: 0, files: 0 };
    copy.folder(from, to, 0)
}

struct Copy {
    root: PathBuf,
    bytes: u64,
    files: u32,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path, depth: u32) -> Result<(), IdentityError> {
        for entry in std::fs::read_dir(from)? {
            let name = entry?.file_name();
            let is_ours = name.to_str().is_none_or(|name| !name.starts_with("..") && !NOT_COPIED.contains(&name));
            // A file that a browser in use has just removed, or a link to nowhere.
            let Some(source) = from.join(&name).canonicalize().ok().filter(|source| is_ours && source.starts_with(&self.root))
            else {
                continue;
            };
            let metadata = source.metadata()?;
            if metadata.is_dir() && depth < DEEPEST {
                let target = to.join(&name);
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&target)?;
                self.folder(&source, &target, depth + 1)?;
            } else if metadata.is_file() {
                self.file(&source, &to.join(&name), metadata.len())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path, bytes: u64) -> Result<(), IdentityError> {
        (self.bytes, self.files) = (self.bytes + bytes, self.files + 1);
        if self.bytes > MOST_PROFILE_BYTES || self.files > MOST_PROFILE_FILES {
            return Err(IdentityError::TooLarge(MOST_PROFILE_BYTES >> 20));
        }
        // Through our own file: the original's mode may be read-only, and the browser writes to its profile.
        std::io::copy(&mut std::fs::File::open(from)?, &mut std::fs::File::create(to)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        StorageState::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_storage_state_is_refused_by_place_and_without_any_value() {
        let cookie = |rest: &str| format!(r#"{{"cookies":[{{"name":"CANARY","value":"CANARY",{rest}}}]}}"#);
        for (text, part) in [
            ("CANARY".to_owned(), "line 1"),
            (r#"{"cookies":"CANARY"}"#.to_owned(), "line 1"),
            (r#"{"origins":[{"origin":"https://a.example","localStorage":[{"name":"CANARY"}]}]}"#.to_owned(), "line 1"),
            (cookie(r#""domain":"""#), "cookie 1 has no domain"),
            (cookie(r#""domain":"a","expires":"CANARY""#), "cookie 1 has an expires"),
            (cookie(r#""domain":"a","sameSite":"CANARY""#), "sameSite"),
            (r#"{"origins":[{"origin":"https://CANARY/path"}]}"#.to_owned(), "origin 1"),
            ("{}".to_owned(), "neither a cookie nor local storage"),
        ] {
            let error = refused(&text);
            assert!(error.contains(part) && !error.contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn a_storage_state_shows_nothing_and_becomes_parameters() {
        let text = r#"{"cookies":[{"name":"SID","value":"CANARY","domain":".example.org","path":"/","expires":-1,"httpOnly":true,"secure":true,"sameSite":"None"}],
                       "origins":[{"origin":"https://example.org","localStorage":[{"name":"a","value":"</script>\u2028CANARY"}]}]}"#;
        let state = StorageState::parse(text.as_bytes()).unwrap();
        assert_eq!(format!("{state:?}"), "StorageState(1 cookies, 1 origins)");
        let expected = json!([{"name":"SID","value":"CANARY","domain":".example.org","path":"/","httpOnly":true,"secure":true,"sameSite":"None"}]);
        assert_eq!(state.cookies(), expected);
        assert!(state.local_storage_script().unwrap().contains("https://example.org"));
        assert_eq!(state.secrets().len(), 2);
    }

    #[test]
    fn a_profile_is_copied_without_caches_locks_and_what_leads_out_of_it() {
        let (folder, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = folder.path().join("profile");
        // As a kubelet mounts a secret: the names are links into a folder whose own name starts with two dots.
        let data = from.join("..data/Default/Cache");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(from.join("..data/Default/Cookies"), "cookies").unwrap();
        std::fs::write(data.join("big"), "cache").unwrap();
        std::fs::write(folder.path().join("outside"), "outside").unwrap();
        for (target, name) in [("..data/Default", "Default"), ("../outside", "stolen"), ("host-1", "SingletonLock")] {
            std::os::unix::fs::symlink(target, from.join(name)).unwrap();
        }
        check_profile(&from).unwrap();
        copy_profile(&from, to.path()).unwrap();
        let names: Vec<_> = std::fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["Default"]);
        assert_eq!(std::fs::read_to_string(to.path().join("Default/Cookies")).unwrap(), "cookies");
        assert!(!to.path().join("Default/Cache").exists());
        assert!(matches!(check_profile(to.path().join("Default").as_path()), Err(IdentityError::NoProfile)));
        assert!(check_profile(Path::new("/nowhere")).is_err());
    }
}
