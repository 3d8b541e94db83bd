//! A meeting-bot without a browser, for suites of many bots at once. Takes the place of `meeting-bot` by `MEETING_BOT_BIN`.

fn main() -> std::process::ExitCode {
    tests::scripted_bot::run()
}
