//! Distinctive secrets, and where they turn up: in files, names, texts, and in what `/proc` shows of processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::usage::descendants;

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A passcode in a meeting's address.
    Passcode,
    /// A bearer token.
    Token,
    /// An e-mail address.
    Email,
    /// A meeting's title.
    Title,
    /// A participant's name.
    Person,
    /// The bot's own name.
    BotName,
    /// A cookie of a signed-in identity.
    Cookie,
    /// What a page stored for a signed-in identity.
    Storage,
    /// A cloud credential of the controller's.
    CloudKey,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Passcode,
        Self::Token,
        Self::Email,
        Self::Title,
        Self::Person,
        Self::BotName,
        Self::Cookie,
        Self::Storage,
        Self::CloudKey,
    ];

    /// The secret: one that no encoding of an address changes, and that nothing else contains.
    pub fn text(self) -> &'static str {
        match self {
            Self::Passcode => "PasscodeCanary7f3a9",
            Self::Token => "TokenCanary1b8d4",
            Self::Email => "emailcanary5c2e7@example.com",
            Self::Title => "TitleCanary9d6f1",
            Self::Person => "PersonCanary3e7b2",
            Self::BotName => "BotCanary8a4c6",
            Self::Cookie => "CookieCanary2f9d5",
            Self::Storage => "StorageCanary6b1e8",
            Self::CloudKey => "CloudKeyCanary4d7a3",
        }
    }

    /// As it is, and as it would look in base64 or in hexadecimal, whatever stands before it.
    fn forms(self) -> Vec<String> {
        let text = self.text().as_bytes();
        let shifted = |by: usize| {
            let encoded = data_encoding::BASE64_NOPAD.encode(&[&b"xxx"[..by], text].concat());
            // The characters at both ends depend on the neighbours, too.
            encoded[(by * 8).div_ceil(6)..encoded.len() - 1].to_owned()
        };
        vec![self.text().to_owned(), shifted(0), shifted(1), shifted(2), data_encoding::HEXLOWER.encode(text)]
    }
}

/// The secrets that some bytes hold.
pub fn found_in(bytes: &[u8]) -> Vec<Kind> {
    // The standard library's search is quick in a development build, too; logs are large here.
    let text = String::from_utf8_lossy(bytes);
    Kind::ALL.into_iter().filter(|kind| kind.forms().iter().any(|form| text.contains(form))).collect()
}

/// One find: where, and what.
pub type Find = (String, Kind);

/// Every secret in the names and contents of the files below a folder, but those that `is_meant` (by path, relative to it).
pub fn in_files(root: &Path, is_meant: &dyn Fn(&str, Kind) -> bool) -> BTreeSet<Find> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            if entry.file_type().is_ok_and(|of| of.is_dir()) {
                folders.push(path.clone());
            }
            // A socket or a pipe is no file that could be read.
            let bytes = if path.is_file() { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
            let kinds = found_in(&bytes).into_iter().chain(found_in(name.as_bytes()));
            found.extend(kinds.filter(|kind| !is_meant(&name, *kind)).map(|kind| (name.clone(), kind)));
        }
    }
    found
}

/// Looks at the command lines and environments of a process and of all that descend from it, again and again.
pub struct Watch {
    found: Arc<Mutex<BTreeSet<Find>>>,
    seen: Arc<Mutex<BTreeSet<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    /// Begins.
    pub fn of(root: i32) -> Self {
        let watch = Self { found: Arc::default(), seen: Arc::default(), is_over: Arc::default() };
        let (found, seen, is_over) = (watch.found.clone(), watch.seen.clone(), watch.is_over.clone());
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for (pid, process) in descendants(root) {
                    found.lock().unwrap_or_else(PoisonError::into_inner).extend(in_process(pid, &process.name));
                    seen.lock().unwrap_or_else(PoisonError::into_inner).insert(process.name);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        watch
    }

    /// What was found, and the names of the programs that were looked at.
    pub fn end(self) -> (BTreeSet<Find>, BTreeSet<String>) {
        self.is_over.store(true, Ordering::Relaxed);
        let take = |set: &Mutex<BTreeSet<String>>| set.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.found.lock().unwrap_or_else(PoisonError::into_inner).clone(), take(&self.seen))
    }
}

/// A process's secrets. A cloud credential may be in the environment of those that talk to the cloud, and nowhere else.
pub fn in_process(pid: i32, name: &str) -> Vec<Find> {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = read("cmdline");
    let captures = String::from_utf8_lossy(&line).contains("x11grab");
    let talks_to_the_cloud = ["controller", "manager"].contains(&name) || (["ffmpeg", "ffprobe"].contains(&name) && !captures);
    let in_line = found_in(&line).into_iter().map(|kind| (format!("command line of {name}"), kind));
    let in_environment = found_in(&read("environ")).into_iter().map(|kind| (format!("environment of {name}"), kind));
    in_line.chain(in_environment.filter(|(_, kind)| *kind != Kind::CloudKey || !talks_to_the_cloud)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_each_form_and_nothing_is_found_in_none() {
        for kind in Kind::ALL {
            for before in ["", "a", "ab", "abc"] {
                let text = format!("{before}{}, and more", kind.text());
                assert_eq!(found_in(text.as_bytes()), [kind]);
                assert_eq!(found_in(data_encoding::BASE64.encode(text.as_bytes()).as_bytes()), [kind], "after {before:?}");
                assert_eq!(found_in(data_encoding::HEXLOWER.encode(text.as_bytes()).as_bytes()), [kind]);
            }
        }
        assert_eq!(found_in(b"Passcode Canary Token"), []);
    }

    #[test]
    fn a_secret_is_found_in_a_name_in_a_file_in_a_command_line_and_in_an_environment() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join(format!("x-{}", Kind::Title.text()));
        std::fs::create_dir(&inner).expect("a folder");
        std::fs::write(inner.join("y"), format!("pwd={}", Kind::Passcode.text())).expect("a file");
        let found = in_files(folder.path(), &|_, _| false);
        let kinds: BTreeSet<Kind> = found.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, BTreeSet::from([Kind::Passcode, Kind::Title]));
        assert!(in_files(folder.path(), &|_, _| true).is_empty());
        let mut command = std::process::Command::new("sleep");
        command.arg("30").env("X", Kind::Cookie.text());
        std::os::unix::process::CommandExt::arg0(&mut command, format!("sleep-{}", Kind::Token.text()));
        let mut child = command.spawn().expect("sleep");
        // A process that has just begun has no command line for a moment.
        let line = format!("/proc/{}/cmdline", child.id());
        let begun = std::time::Instant::now();
        while std::fs::read(&line).expect("its command line").is_empty() && begun.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        let kinds: Vec<Kind> =
            in_process(i32::try_from(child.id()).expect("an id"), "sleep").into_iter().map(|(_, kind)| kind).collect();
        child.kill().and_then(|()| child.wait()).expect("its end");
        assert_eq!(kinds, [Kind::Token, Kind::Cookie]);
    }
}
