//! What the API answers, for a person: tables of plain text. Names and titles are other people's: nothing of them reaches the terminal as a
//! control sequence.

use serde_json::Value;

/// A member as plain text; empty where there is none.
pub(super) fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => plain(text),
        Value::Null => String::new(),
        other => plain(&other.to_string()),
    }
}

/// Without control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Columns as wide as their widest cell.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column)).map(|cell| cell.chars().count());
    let widths: Vec<usize> =
        head.iter().enumerate().map(|(column, name)| cells(column).max().unwrap_or(0).max(name.len())).collect();
    let line = |row: Vec<&str>| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        cells.trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(rows).collect::<Vec<_>>().join("\n")
}

fn minute(value: &Value, name: &str) -> String {
    let instant = text(value, name);
    instant.get(..16).map_or(instant.clone(), |minute| minute.replace('T', " "))
}

pub(super) fn bots(found: &[Value]) -> String {
    let row = |bot: &Value| {
        let megabytes = bot["recording"]["bytes"].as_u64().map_or_else(String::new, |bytes| format!("{:.1}", bytes as f64 / 1e6));
        vec![
            text(bot, "id"),
            text(bot, "phase"),
            text(&bot["outcome"], "kind"),
            text(bot, "platform"),
            minute(bot, "created_at"),
            megabytes,
            text(bot, "organization"),
        ]
    };
    table(
        &["ID", "PHASE", "OUTCOME", "PLATFORM", "QUEUED (UTC)", "MB", "ORGANIZATION"],
        &found.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(super) fn meetings(found: &[Value]) -> String {
    let row = |meeting: &Value| {
        let fields = ["id", "status", "bot_status", "platform"].map(|name| text(meeting, name));
        let mut row = fields.to_vec();
        row.extend([minute(meeting, "start_time"), text(meeting, "organization"), text(meeting, "title")]);
        row
    };
    table(&["ID", "STATUS", "BOT", "PLATFORM", "START", "ORGANIZATION", "TITLE"], &found.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn scheduled(answer: &Value) -> String {
    let (meeting, bot) = (text(&answer["meeting"], "id"), text(&answer["bot"], "id"));
    let bot = if bot.is_empty() { "its bot is sent shortly before the start".to_owned() } else { format!("bot {bot}") };
    format!("{}  meeting {meeting}  {bot}", text(answer, "result"))
}

pub(super) fn detail(bot: &Value, events: &Value) -> String {
    let mut lines = vec![format!("{}  {}  attempt {}", text(bot, "id"), text(bot, "meeting_url"), text(bot, "attempt"))];
    lines.extend(events.as_array().into_iter().flatten().map(event));
    lines.push(format!("phase {}", text(bot, "phase")));
    if bot["outcome"].is_object() {
        lines.push(format!(
            "outcome {} ({}): {}",
            text(&bot["outcome"], "kind"),
            text(&bot["outcome"], "attribution"),
            text(&bot["outcome"], "message")
        ));
    }
    let files = bot["artifacts"].as_array().into_iter().flatten();
    lines.extend(
        files.map(|file| format!("{:<15} {:>12} bytes  {}", text(file, "name"), text(file, "bytes"), text(file, "object"))),
    );
    lines.join("\n")
}

/// One line of a timeline.
pub(super) fn event(event: &Value) -> String {
    let time = text(event, "occurred_at");
    let time = time.get(11..19).unwrap_or(&time).to_owned();
    let detail = text(event, "detail");
    let line = format!("  {time}  {:<12} {} ({})  {detail}", text(event, "phase"), text(event, "event"), text(event, "actor"));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_holds_no_control_sequences() {
        let found = [
            json!({"id": "b1", "title": "\u{1b}[31mred\u{7}", "status": "scheduled"}),
            json!({"id": "longer", "start_time": "2027-01-15T09:00:00Z"}),
        ];
        let table = meetings(&found);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "ID      STATUS     BOT  PLATFORM  START             ORGANIZATION  TITLE");
        assert!(!table.contains('\u{1b}') && lines[1].contains(" [31mred"), "{table}");
        assert!(lines[2].starts_with("longer ") && lines[2].contains("2027-01-15 09:00"));
    }
}
