//! The debug bundle of a session (see [`bot_model::debug_bundle`]): what the page showed last, gathered before the browser is taken
//! down, and written whole or not at all.

use std::path::Path;
use std::time::Duration;

use bot_model::debug_bundle::{FOLDER, File};
use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionEvent;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::timeout;

use super::redact::Redactor;
use crate::browser::{Browser, Page};

/// For picture and text together: the bot has to leave meanwhile.
const GATHER_WITHIN: Duration = Duration::from_millis(1_500);
/// What the page shows, frames of its own origin included, and on which host. In the call only its controls and notices: the rest
/// is names, captions and what people write, also where no pack knows it any more.
const PAGE_TEXT: &str = "((controls) => {
    const texts = [];
    const read = (page) => {
        if (!page.body) return;
        if (controls) texts.push(...Array.from(page.querySelectorAll(controls), (element) => element.innerText).filter((text) => text));
        else texts.push(page.body.innerText);
        for (const frame of page.querySelectorAll('iframe')) {
            try { if (frame.contentDocument) read(frame.contentDocument); } catch (error) { /* another origin */ }
        }
    };
    read(document);
    return `host ${location.host}, ${document.readyState}\\n\\n` + texts.join('\\n').slice(0, 65536);
})";
const CONTROLS: &str = "button, [role=button], h1, h2, [role=heading], [role=dialog], [role=alertdialog], [role=alert], label";
/// A passcode may stand in a field.
const HIDE_FIELDS: &str = "(() => {
    const style = document.createElement('style');
    style.textContent = 'input, textarea { -webkit-text-security: disc !important }';
    document.documentElement.append(style);
})()";

/// What is known of a page when a session ends.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) screenshot: Option<Vec<u8>>,
    page: Option<String>,
    console: Vec<String>,
    redactor: Redactor,
}

impl Evidence {
    /// Looks at what is there; a browser that has ended has still left its console.
    pub(super) async fn gather(browser: &Browser, is_in_call: bool, redactor: Redactor) -> Self {
        let page = browser.page();
        let picture = async {
            let _ = page.evaluate(HIDE_FIELDS).await;
            page.screenshot().await
        };
        let (picture, text) = tokio::join!(timeout(GATHER_WITHIN, picture), timeout(GATHER_WITHIN, text_of(page, is_in_call)));
        Self { screenshot: picture.ok().and_then(Result::ok), page: text.ok().flatten(), console: browser.console(), redactor }
    }

    /// Writes the bundle below a session's folder, in place of an earlier session's.
    pub(super) fn write(&self, output: &Path, events: &[SessionEvent], end: (OutcomeKind, &str, DateTime<Utc>)) {
        if let Err(error) = self.try_to_write(output, events, end) {
            tracing::warn!(%error, "the debug bundle could not be written");
        }
    }

    fn try_to_write(
        &self,
        output: &Path,
        events: &[SessionEvent],
        (kind, detail, at): (OutcomeKind, &str, DateTime<Utc>),
    ) -> std::io::Result<()> {
        let (draft, folder) = (output.join(format!("{FOLDER}.tmp")), output.join(FOLDER));
        for old in [&draft, &folder] {
            match std::fs::remove_dir_all(old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::create_dir_all(&draft)?;
        let mut lines: Vec<String> = events.iter().filter_map(|event| serde_json::to_string(event).ok()).collect();
        lines.push(json!({ "at": at, "event": "ended", "kind": kind, "detail": self.redactor.redact(detail) }).to_string());
        let text = |lines: &[String]| Some(lines.join("\n") + "\n");
        let redacted = |text: &str| self.redactor.redact(text);
        let console = (!self.console.is_empty()).then(|| redacted(&self.console.join("\n")));
        let files = [
            (File::Events, newest(text(&lines), File::Events).map(String::into_bytes)),
            (File::Screenshot, self.screenshot.clone().filter(|png| png.len() <= File::Screenshot.most_bytes())),
            (File::Page, self.page.as_deref().map(|page| redacted(page).into_bytes())),
            (File::Console, newest(console, File::Console).map(String::into_bytes)),
        ];
        for (file, bytes) in files {
            if let Some(bytes) = bytes {
                std::fs::write(draft.join(file.name()), bytes)?;
            }
        }
        std::fs::rename(draft, folder)
    }
}

async fn text_of(page: &Page, is_in_call: bool) -> Option<String> {
    let controls = if is_in_call { json!(CONTROLS) } else { json!(null) };
    page.evaluate(&format!("{PAGE_TEXT}({controls})")).await.ok()?.as_str().map(str::to_owned)
}

/// The end of a text, from a line on, where all of it is too long.
fn newest(text: Option<String>, file: File) -> Option<String> {
    let text = text?;
    let mut from = text.len().saturating_sub(file.most_bytes());
    if from == 0 {
        return Some(text);
    }
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let tail = &text[from..];
    Some(tail.split_once('\n').map_or(tail, |(_, whole)| whole).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bot_model::session::{SessionEventKind, SessionPhase};

    fn event(seq: u64) -> SessionEvent {
        SessionEvent { seq, at: DateTime::UNIX_EPOCH, kind: SessionEventKind::Phase { phase: SessionPhase::Joining } }
    }

    #[test]
    fn a_bundle_replaces_an_earlier_one_whole_and_holds_nothing_private() {
        let output = tempfile::tempdir().unwrap();
        let redactor = || Redactor::default().secrets(["CANARY".to_owned()]).names(["Ann".to_owned()]);
        let first =
            Evidence { screenshot: Some(vec![1]), page: Some("Ann CANARY".into()), console: Vec::new(), redactor: redactor() };
        first.write(output.path(), &[event(1)], (OutcomeKind::Denied, "canary", DateTime::UNIX_EPOCH));
        let second = Evidence { console: vec!["log of Ann CANARY".into()], redactor: redactor(), ..Evidence::default() };
        second.write(output.path(), &[event(1), event(2)], (OutcomeKind::BrowserCrashed, "crashed", DateTime::UNIX_EPOCH));
        let folder = output.path().join(FOLDER);
        let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["console.txt", "events.jsonl"]);
        let read = |file: File| std::fs::read_to_string(folder.join(file.name())).unwrap();
        assert_eq!(read(File::Console), "log of [name] [secret]");
        assert_eq!(read(File::Events).lines().count(), 3);
        assert_eq!(std::fs::read_dir(output.path()).unwrap().count(), 1, "a draft is left");
    }

    #[test]
    fn of_a_long_text_the_end_is_kept() {
        let long = "ä line\n".repeat(1 << 18);
        let kept = newest(Some(long), File::Console).unwrap();
        assert!(kept.len() <= File::Console.most_bytes() && kept.starts_with("ä line\n") && kept.ends_with("ä line\n"));
    }
}
