//! Which variables of the controller's own environment a run may see: an allow-list for each child. The browser's side gets
//! no credentials of the store or the bucket.

/// The folder of the run, set for both children: whatever carries it in its environment belongs to the run.
pub const RUN_DIR_VARIABLE: &str = "BOT_RUN_DIR";

/// Both children.
pub const SHARED: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "FFMPEG_PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// The manager: it reaches the store and the bucket.
pub const MANAGER_ONLY: &[&str] = &[
    "FFPROBE_PATH",
    "FIRESTORE_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_*",
];

/// The meeting-bot: it runs the browser.
pub const BOT_ONLY: &[&str] = &[
    "CHROME_PATH",
    "SIGNAL_PACKS_DIR",
    "BROWSER_PROFILE_DIR",
    "BROWSER_STORAGE_STATE",
    "DEBUG_BUNDLE",
    "READ_CHAT",
    "LD_LIBRARY_PATH",
    "FONTCONFIG_PATH",
    "FONTCONFIG_FILE",
    "XKB_BINDIR",
    "XKB_CONFIG_ROOT",
];

/// The variables of `all` that one of the lists allows; a name that ends in `*` allows a prefix.
pub fn allowed(all: impl IntoIterator<Item = (String, String)>, lists: &[&[&str]]) -> Vec<(String, String)> {
    let fits = |name: &str, pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    all.into_iter().filter(|(name, _)| lists.iter().any(|list| list.iter().any(|pattern| fits(name, pattern)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_s_side_sees_no_credentials_and_no_desktop() {
        let names = [
            "AWS_SECRET_ACCESS_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "DISPLAY",
            "PULSE_SERVER",
            "LD_PRELOAD",
            "PATH",
            "CHROME_PATH",
        ];
        let all = || names.iter().map(|name| ((*name).to_owned(), "x".to_owned()));
        let seen: Vec<String> = allowed(all(), &[SHARED, BOT_ONLY]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(seen, ["PATH", "CHROME_PATH"]);
        let seen: Vec<String> = allowed(all(), &[SHARED, MANAGER_ONLY]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(seen, ["AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "PATH"]);
    }
}
