//! What is missing on this machine, and the package that brings it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Tried in this order when `CHROME_PATH` is not set.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

const SNAP: &str = "is a snap: its confinement hides the bot's folders, display and sound from it. Install a .deb instead \
    (Debian: apt-get install chromium; Ubuntu on amd64: Google's google-chrome-stable .deb; Ubuntu on arm64: a Chromium .deb from Debian \
    or a Playwright build) and set CHROME_PATH to its program";

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What is wrong and what mends it; absent when it is good.
    pub problem: Option<String>,
}

impl Finding {
    /// True when nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problem.is_none()
    }
}

/// Looks at everything that a session needs.
pub fn examine(chrome_path: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![browser(chrome_path)];
    for (program, package) in [("Xvfb", "xvfb"), ("pulseaudio", "pulseaudio"), ("pactl", "pulseaudio-utils")] {
        let problem = on_path(program).is_none().then(|| format!("not found; apt-get install {package}"));
        findings.push(Finding { what: program.to_owned(), problem });
    }
    findings.extend(ffmpeg());
    findings
}

/// For a person: a line each.
pub fn report(findings: &[Finding]) -> String {
    let line = |finding: &Finding| match &finding.problem {
        None => format!("ok       {}\n", finding.what),
        Some(problem) => format!("MISSING  {}: {problem}\n", finding.what),
    };
    findings.iter().map(line).collect()
}

fn browser(chrome_path: Option<&Path>) -> Finding {
    match find_browser(chrome_path) {
        Ok(path) => Finding { what: format!("browser {}", path.display()), problem: None },
        Err(problem) => Finding { what: "browser".to_owned(), problem: Some(problem) },
    }
}

/// The browser to use: `CHROME_PATH`, or the first on PATH that is no snap.
pub fn find_browser(chrome_path: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = chrome_path {
        return match (path.is_file(), is_snap(path)) {
            (false, _) => Err(format!("CHROME_PATH names {}, which is no file", path.display())),
            (true, true) => Err(format!("CHROME_PATH {} {SNAP}", path.display())),
            (true, false) => Ok(path.to_owned()),
        };
    }
    let found: Vec<PathBuf> = BROWSERS.iter().filter_map(|name| on_path(name)).collect();
    match found.iter().find(|path| !is_snap(path)) {
        Some(path) => Ok(path.clone()),
        None => Err(found.first().map_or_else(
            || "no Chromium or Chrome found; apt-get install chromium, or set CHROME_PATH".to_owned(),
            |snap| format!("{} {SNAP}", snap.display()),
        )),
    }
}

/// A link into /snap, or Ubuntu's script that runs `/snap/bin/chromium`.
fn is_snap(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let linked = real.starts_with("/snap") || path.starts_with("/snap") || real.ends_with("usr/bin/snap");
    let small = real.metadata().is_ok_and(|metadata| metadata.len() < 64 * 1024);
    linked || (small && std::fs::read_to_string(&real).is_ok_and(|script| script.contains("/snap/bin/")))
}

fn ffmpeg() -> Vec<Finding> {
    let Some(path) = on_path("ffmpeg") else {
        return vec![Finding { what: "ffmpeg".to_owned(), problem: Some("not found; apt-get install ffmpeg".to_owned()) }];
    };
    let lists = format!("{}{}", listing(&path, "-devices"), listing(&path, "-encoders"));
    let has = |name: &str| lists.lines().any(|line| line.split_whitespace().any(|word| word == name));
    ["x11grab", "pulse", "libx264", "aac"]
        .into_iter()
        .map(|name| Finding {
            what: format!("ffmpeg with {name}"),
            problem: (!has(name)).then(|| "this ffmpeg was built without it; apt-get install ffmpeg".to_owned()),
        })
        .collect()
}

fn listing(ffmpeg: &Path, what: &str) -> String {
    let output = Command::new(ffmpeg).args(["-hide_banner", what]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snap_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("chromium-browser");
        std::fs::write(&script, "#!/bin/sh\nexec /snap/bin/chromium \"$@\"\n").unwrap();
        let problem = find_browser(Some(&script)).unwrap_err();
        assert!(problem.contains("CHROME_PATH") && problem.contains(".deb"), "{problem}");
    }

    #[test]
    fn a_missing_browser_names_the_variable() {
        let problem = find_browser(Some(Path::new("/nowhere/chrome"))).unwrap_err();
        assert!(problem.contains("CHROME_PATH"), "{problem}");
    }
}
