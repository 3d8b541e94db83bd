//! Queries as Firestore's structured queries, ordered so that a cursor continues them.
//!
//! By status, documents come in the order of their names. In a start window they come by start and then name, for
//! Firestore answers a range from an index that begins with it; the cursor then holds both.

use bot_model::configuration::{Naming, QueryMode};
use chrono::{DateTime, SecondsFormat, Utc};
use firestore::gcloud_sdk::google::firestore::v1::structured_aggregation_query::{self, Aggregation, aggregation};
use firestore::gcloud_sdk::google::firestore::v1::structured_query::{
    CollectionSelector, CompositeFilter, Direction, FieldFilter, FieldReference, Filter, Order, composite_filter, field_filter,
    filter,
};
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{
    AggregationResult, ArrayValue, Cursor, RunAggregationQueryRequest, StructuredAggregationQuery, StructuredQuery, Value,
    run_aggregation_query_request,
};

use super::values::{string, timestamp};
use crate::MeetingQuery;
use crate::listing::{Listed, Listing, of_cursor};

pub(super) const START_TIME: &str = "start_time";
const NAME: &str = "__name__";
/// Alias of a count.
const COUNT: &str = "count";

/// A query and the document under which it looks (empty for the root).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    /// Relative path.
    pub(super) parent: String,
    /// What is asked.
    pub(super) query: StructuredQuery,
}

/// The meetings of this naming that a query wants.
pub(super) fn meetings(naming: &Naming, query: &MeetingQuery) -> Question {
    let (statuses, window) = match query {
        MeetingQuery::WithStatus(statuses) => (statuses, None),
        MeetingQuery::StartingWithin { statuses, from, to } => (statuses, Some((*from, *to))),
    };
    let (parent, selector) = meetings_collection(naming);
    let mut filters = vec![status_in(&naming.meeting_status_field, statuses)];
    let mut order_by = Vec::new();
    if let Some((from, to)) = window {
        filters.push(compare(START_TIME, field_filter::Operator::GreaterThanOrEqual, instant(from)));
        filters.push(compare(START_TIME, field_filter::Operator::LessThanOrEqual, instant(to)));
        order_by.push(ascending(START_TIME));
    }
    order_by.push(ascending(NAME));
    Question { parent, query: structured(selector, all_of(filters), order_by) }
}

/// The instances with one of these stored statuses.
pub(super) fn instances(naming: &Naming, statuses: &[String]) -> Question {
    let selector = CollectionSelector { collection_id: "bot_instances".into(), all_descendants: false };
    let filter = status_in(&naming.instance_status_field, statuses);
    Question { parent: String::new(), query: structured(selector, Some(filter), vec![ascending(NAME)]) }
}

/// A list, in its order.
pub(super) fn listing(naming: &Naming, listing: &Listing) -> Question {
    let (parent, selector) = match listing.kind {
        Listed::Meetings => meetings_collection(naming),
        kind => {
            let (id, all_descendants) = match kind {
                Listed::Events => ("events", true),
                Listed::ApiKeys => ("api_keys", false),
                Listed::Audit => ("audit_log", false),
                Listed::Replays => ("api_replays", false),
                Listed::Outbox => ("webhook_outbox", false),
                Listed::Endpoints => ("webhook_endpoints", false),
                Listed::Deliveries => ("webhook_deliveries", false),
                Listed::Pending => ("webhook_pending", false),
                Listed::Organizations => ("organization_limits", false),
                Listed::Instances | Listed::Meetings => ("bot_instances", false),
            };
            (String::new(), CollectionSelector { collection_id: id.into(), all_descendants })
        }
    };
    let field = listing.kind.instant_field();
    let mut filters: Vec<Filter> = Vec::new();
    for (name, values) in &listing.equal {
        let name = name.name(listing.kind, naming);
        filters.push(match values.as_slice() {
            [value] => compare(name, field_filter::Operator::Equal, string(value)),
            values => status_in(name, values),
        });
    }
    // An unbounded list, too, has Timestamps alone: a string sorts after every one of them.
    let from = listing.from.unwrap_or(DateTime::UNIX_EPOCH);
    filters.push(compare(field, field_filter::Operator::GreaterThanOrEqual, instant(from)));
    if let Some(before) = listing.before {
        filters.push(compare(field, field_filter::Operator::LessThan, instant(before)));
    }
    let direction = if listing.is_newest_first { Direction::Descending } else { Direction::Ascending };
    let order_by = [field, NAME].map(|name| Order { direction: i32::from(direction), ..ascending(name) }).to_vec();
    Question { parent, query: structured(selector, all_of(filters), order_by) }
}

/// Continues a list after a cursor; `None` for one that no list made.
pub(super) fn list_after(query: &mut StructuredQuery, cursor: &str, documents: &str) -> Option<()> {
    let (micros, path) = of_cursor(cursor)?;
    let reference = Value { value_type: Some(ValueType::ReferenceValue(format!("{documents}/{path}"))) };
    query.start_at = Some(Cursor { values: vec![instant(DateTime::from_timestamp_micros(micros)?), reference], before: false });
    Some(())
}

/// The request that counts what a query finds.
pub(super) fn counted(parent: String, query: StructuredQuery) -> RunAggregationQueryRequest {
    let count =
        Aggregation { alias: COUNT.into(), operator: Some(aggregation::Operator::Count(aggregation::Count { up_to: None })) };
    let counting = StructuredAggregationQuery {
        aggregations: vec![count],
        query_type: Some(structured_aggregation_query::QueryType::StructuredQuery(query)),
    };
    let query_type = Some(run_aggregation_query_request::QueryType::StructuredAggregationQuery(counting));
    RunAggregationQueryRequest { parent, query_type, ..RunAggregationQueryRequest::default() }
}

/// What [`counted`] asked for.
pub(super) fn count_of(result: &AggregationResult) -> Option<u64> {
    match result.aggregate_fields.get(COUNT)?.value_type {
        Some(ValueType::IntegerValue(count)) => u64::try_from(count).ok(),
        _ => None,
    }
}

/// All of a collection below `parent`, by name.
pub(super) fn whole_collection(parent: String, id: &str) -> Question {
    let selector = CollectionSelector { collection_id: id.into(), all_descendants: false };
    Question { parent, query: structured(selector, None, vec![ascending(NAME)]) }
}

/// The cursor after a record.
pub(super) fn cursor_after(query: &MeetingQuery, path: &str, start: Option<DateTime<Utc>>) -> String {
    match (query, start) {
        (MeetingQuery::StartingWithin { .. }, Some(start)) => {
            format!("{} {path}", start.to_rfc3339_opts(SecondsFormat::Micros, true))
        }
        _ => path.to_owned(),
    }
}

/// Continues a query after a cursor; `None` for one that [`cursor_after`] did not make.
pub(super) fn start_after(query: &mut StructuredQuery, cursor: &str, documents: &str) -> Option<()> {
    let mut values = Vec::new();
    let path = if query.order_by.len() > 1 {
        let (start, path) = cursor.split_once(' ')?;
        values.push(instant(DateTime::parse_from_rfc3339(start).ok()?.with_timezone(&Utc)));
        path
    } else {
        cursor
    };
    values.push(Value { value_type: Some(ValueType::ReferenceValue(format!("{documents}/{path}"))) });
    query.start_at = Some(Cursor { values, before: false });
    Some(())
}

fn meetings_collection(naming: &Naming) -> (String, CollectionSelector) {
    let all_descendants = naming.query_mode == QueryMode::CollectionGroup;
    let (parent, id) = naming.meetings_collection.rsplit_once('/').unwrap_or(("", &naming.meetings_collection));
    (parent.to_owned(), CollectionSelector { collection_id: id.to_owned(), all_descendants })
}

fn structured(selector: CollectionSelector, filter: Option<Filter>, order_by: Vec<Order>) -> StructuredQuery {
    StructuredQuery { from: vec![selector], r#where: filter, order_by, ..StructuredQuery::default() }
}

fn status_in(field: &str, statuses: &[String]) -> Filter {
    let values = statuses.iter().map(|status| string(status)).collect();
    let list = Value { value_type: Some(ValueType::ArrayValue(ArrayValue { values })) };
    compare(field, field_filter::Operator::In, list)
}

fn compare(field: &str, op: field_filter::Operator, value: Value) -> Filter {
    let field = Some(FieldReference { field_path: field.to_owned() });
    Filter { filter_type: Some(filter::FilterType::FieldFilter(FieldFilter { field, op: i32::from(op), value: Some(value) })) }
}

fn all_of(mut filters: Vec<Filter>) -> Option<Filter> {
    if filters.len() < 2 {
        return filters.pop();
    }
    let op = i32::from(composite_filter::Operator::And);
    Some(Filter { filter_type: Some(filter::FilterType::CompositeFilter(CompositeFilter { op, filters })) })
}

fn ascending(field: &str) -> Order {
    Order { field: Some(FieldReference { field_path: field.to_owned() }), direction: i32::from(Direction::Ascending) }
}

fn instant(instant: DateTime<Utc>) -> Value {
    Value { value_type: Some(ValueType::TimestampValue(timestamp(instant))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_collection_is_asked_below_its_parent() {
        let naming = Naming { meetings_collection: "orgs/x/meetings".into(), ..Naming::default() };
        let question = meetings(&naming, &MeetingQuery::WithStatus(vec!["scheduled".into()]));
        assert_eq!(question.parent, "orgs/x");
        assert_eq!(question.query.from[0].collection_id, "meetings");
        assert!(!question.query.from[0].all_descendants);
    }

    #[test]
    fn a_window_is_ordered_by_start_and_its_cursor_holds_both() {
        let query = MeetingQuery::StartingWithin { statuses: vec!["a".into()], from: Utc::now(), to: Utc::now() };
        let mut question = meetings(&Naming::default(), &query).query;
        let cursor = cursor_after(&query, "meetings/m 1", DateTime::from_timestamp(1_800_000_000, 1000));
        assert_eq!(cursor, "2027-01-15T08:00:00.000001Z meetings/m 1");
        start_after(&mut question, &cursor, "projects/p/databases/d/documents").unwrap();
        assert_eq!(question.start_at.unwrap().values.len(), 2);
    }

    #[test]
    fn a_cursor_of_another_query_is_refused() {
        let query = MeetingQuery::StartingWithin { statuses: vec!["a".into()], from: Utc::now(), to: Utc::now() };
        assert_eq!(start_after(&mut meetings(&Naming::default(), &query).query, "meetings/m", "d"), None);
    }
}
