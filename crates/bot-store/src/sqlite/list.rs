//! Lists by time, over the indexes of [`super::schema`].

use bot_model::configuration::{Naming, QueryMode};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params_from_iter};

use super::{from_sqlite, record, refused};
use crate::listing::{Listed, Listing, cursor_after, of_cursor};
use crate::{Page, StoreError};

/// A condition with its values, and the order.
pub(super) struct Question {
    condition: String,
    values: Vec<SqlValue>,
    order: &'static str,
}

/// The question that a listing asks, continued after a cursor.
pub(super) fn question(naming: &Naming, listing: &Listing, after: Option<&str>) -> Result<Question, StoreError> {
    // Literal, so that the partial indexes are recognised.
    let kind = match listing.kind {
        Listed::Meetings => "meeting",
        Listed::Instances => "instance",
        Listed::Events => "event",
        Listed::ApiKeys => "api_key",
        Listed::Audit => "audit",
        Listed::Replays => "replay",
        Listed::Outbox => "webhook_outbox",
        Listed::Endpoints => "webhook_endpoint",
        Listed::Organizations => "organization",
        Listed::Deliveries => "webhook_delivery",
        Listed::Pending => "webhook_pending",
    };
    let mut condition = format!("kind = '{kind}' AND listed_at IS NOT NULL");
    let mut values = Vec::new();
    if listing.kind == Listed::Meetings {
        condition += match naming.query_mode {
            QueryMode::Collection => " AND parent = ?",
            QueryMode::CollectionGroup => " AND collection_id = ?",
        };
        values.push(naming.meetings_collection.clone().into());
    }
    for (field, wanted) in &listing.equal {
        let marks = vec!["?"; wanted.len()].join(", ");
        // The configured names were checked to be letters, digits and _.
        condition += &format!(" AND json_extract(fields, '$.{}') IN ({marks})", field.name(listing.kind, naming));
        values.extend(wanted.iter().cloned().map(SqlValue::from));
    }
    for (bound, comparison) in [(listing.from, ">="), (listing.before, "<")] {
        if let Some(bound) = bound {
            condition += &format!(" AND listed_at {comparison} ?");
            values.push(bound.timestamp_micros().into());
        }
    }
    if let Some(cursor) = after {
        let (micros, path) = of_cursor(cursor).ok_or_else(|| refused("list", "the cursor is of another query".into()))?;
        condition += if listing.is_newest_first { " AND (listed_at, path) < (?, ?)" } else { " AND (listed_at, path) > (?, ?)" };
        values.extend([micros.into(), path.to_owned().into()]);
    }
    let order = if listing.is_newest_first { "listed_at DESC, path DESC" } else { "listed_at, path" };
    Ok(Question { condition, values, order })
}

/// At most `limit` records, and the cursor where more follow.
pub(super) fn page(connection: &Connection, question: &Question, limit: usize) -> Result<Page, StoreError> {
    let failed = |error: rusqlite::Error| from_sqlite("list", &error);
    let Question { condition, values, order } = question;
    let sql =
        format!("SELECT path, fields, revision, listed_at FROM documents WHERE {condition} ORDER BY {order} LIMIT {}", limit + 1);
    let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
    let rows = statement
        .query_map(params_from_iter(values), |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)))
        .map_err(failed)?;
    let rows: Vec<((String, String, i64), i64)> = rows.collect::<Result<_, _>>().map_err(failed)?;
    let last = limit.checked_sub(1).and_then(|index| rows.get(index)).filter(|_| rows.len() > limit);
    let next = last.map(|((path, _, _), micros)| cursor_after(*micros, path));
    let mut records = Vec::with_capacity(rows.len().min(limit));
    for (row, _) in rows.into_iter().take(limit) {
        records.extend(record(row)?);
    }
    Ok(Page { records, next })
}

/// How many there are.
pub(super) fn count(connection: &Connection, question: &Question) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) FROM documents WHERE {}", question.condition);
    let counted = connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row(params_from_iter(&question.values), |row| row.get::<_, i64>(0)));
    counted.map(|count| u64::try_from(count).unwrap_or_default()).map_err(|error| from_sqlite("count", &error))
}
