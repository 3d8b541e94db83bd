//! The indexes that this adapter's queries need besides the automatic ones, and the fields that need none. A missing index is an
//! error in production alone: the emulator does not ask for them.

use bot_model::configuration::{Naming, QueryMode};
use serde_json::{Value, json};

use super::query::START_TIME;
use crate::listing::{ListField, Listed};

/// One index, or one exemption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Id of the collection, or of the collection group.
    pub collection: String,
    /// Over every collection of this id.
    pub is_group: bool,
    /// In order, ascending but for the last, which [`Index::is_newest_first`] turns. One field is an override of the automatic index;
    /// none of several is.
    pub fields: Vec<String>,
    /// The last field is descending.
    pub is_newest_first: bool,
    /// False where the field's automatic index is switched off.
    pub is_wanted: bool,
    /// Which query needs it, or why it is not wanted.
    pub why: String,
}

/// Fields of an instance that change every few seconds, or are long, and that nothing asks for.
const UNINDEXED: [&str; 7] = ["run", "recording", "frozen", "artifacts", "outcome", "linked_meetings", "waits_for"];

/// What the configured names need.
pub fn indexes(naming: &Naming) -> Vec<Index> {
    let is_group = naming.query_mode == QueryMode::CollectionGroup;
    let collection = naming.meetings_collection.rsplit('/').next().unwrap_or_default().to_owned();
    let status = naming.meeting_status_field.clone();
    let mut all = vec![Index {
        collection: collection.clone(),
        is_group,
        fields: vec![status.clone(), START_TIME.into()],
        is_newest_first: false,
        is_wanted: true,
        why: "the poll: meetings of a wanted status that start within the window, by start_time".into(),
    }];
    if is_group {
        all.push(Index {
            collection,
            is_group,
            fields: vec![status],
            is_newest_first: false,
            is_wanted: true,
            why: "the full sweep and the listener: meetings of a wanted status in every collection of this id".into(),
        });
    }
    all.extend(lists(naming));
    all.extend(UNINDEXED.map(|field| Index {
        collection: "bot_instances".into(),
        is_group: false,
        fields: vec![field.into()],
        is_newest_first: false,
        is_wanted: false,
        why: "written often or long, and asked for by no query".into(),
    }));
    all.extend(["body", "attempts", "data"].map(|field| Index {
        collection: if field == "data" { "webhook_outbox" } else { "webhook_deliveries" }.into(),
        is_group: false,
        fields: vec![field.into()],
        is_newest_first: false,
        is_wanted: false,
        why: "long, and asked for by no query".into(),
    }));
    all
}

/// What the API's lists need: each filter with the instant. Firestore merges them where several filters are given.
fn lists(naming: &Naming) -> Vec<Index> {
    use ListField::{Endpoint, Organization, Outcome, Phase, Platform, State, Status};
    let is_group = naming.query_mode == QueryMode::CollectionGroup;
    let meetings = naming.meetings_collection.rsplit('/').next().unwrap_or_default();
    let of = |kind: Listed, collection: &str, is_group: bool, filters: &[ListField]| -> Vec<Index> {
        let index = |field: &ListField| Index {
            collection: collection.to_owned(),
            is_group,
            fields: vec![field.name(kind, naming).to_owned(), kind.instant_field().to_owned()],
            is_newest_first: !matches!(kind, Listed::Events | Listed::Pending),
            is_wanted: true,
            why: format!("the API's list of {collection} by {}", field.name(kind, naming)),
        };
        filters.iter().map(index).collect()
    };
    let mut all = of(Listed::Meetings, meetings, is_group, &[Organization, Status]);
    all.extend(of(Listed::Instances, "bot_instances", false, &[Organization, Status, Phase, Platform, Outcome]));
    all.extend(of(Listed::Audit, "audit_log", false, &[Organization]));
    all.extend(of(Listed::Events, "events", true, &[Organization]));
    all.extend(of(Listed::Endpoints, "webhook_endpoints", false, &[Organization]));
    all.extend(of(Listed::Deliveries, "webhook_deliveries", false, &[Endpoint]));
    all.extend(of(Listed::Pending, "webhook_pending", false, &[Endpoint]));
    // The oldest that is not over, for the metric.
    all.push(Index {
        collection: "webhook_deliveries".into(),
        is_group: false,
        fields: vec![State.name(Listed::Deliveries, naming).to_owned(), Listed::Deliveries.instant_field().to_owned()],
        is_newest_first: false,
        is_wanted: true,
        why: "the age of the oldest webhook that was not delivered".into(),
    });
    // Merged with the poll's own by status.
    all.push(Index {
        collection: meetings.to_owned(),
        is_group,
        fields: vec![Organization.name(Listed::Meetings, naming).to_owned(), Listed::Meetings.instant_field().to_owned()],
        is_newest_first: false,
        is_wanted: true,
        why: "the forecast of an organization: its meetings of a wanted status, by start_time".into(),
    });
    let alone = [("events".to_owned(), Listed::Events, true), (meetings.to_owned(), Listed::Meetings, is_group)];
    all.extend(alone.into_iter().filter(|(_, _, is_group)| *is_group).map(|(collection, kind, is_group)| Index {
        why: format!("the API's list of {collection} over every collection of this id"),
        collection,
        is_group,
        fields: vec![kind.instant_field().to_owned()],
        is_newest_first: kind != Listed::Events,
        is_wanted: true,
    }));
    all
}

impl Index {
    fn order(&self, position: usize) -> &'static str {
        if self.is_newest_first && position + 1 == self.fields.len() { "DESCENDING" } else { "ASCENDING" }
    }

    fn scope(&self) -> &'static str {
        if self.is_group { "COLLECTION_GROUP" } else { "COLLECTION" }
    }

    /// The command that makes it.
    pub fn command(&self, database: &str) -> String {
        let of = format!("--database='{database}' --collection-group='{}'", self.collection);
        match (self.fields.as_slice(), self.is_wanted) {
            ([field], true) => format!(
                "gcloud firestore indexes fields update '{field}' {of} --index=order=ascending --index=order=descending \
                 --index=array-config=contains --index=order={},query-scope=collection-group",
                self.order(0).to_ascii_lowercase()
            ),
            ([field], false) => format!("gcloud firestore indexes fields update '{field}' {of} --disable-indexes"),
            (fields, _) => {
                let order = |position| self.order(position).to_ascii_lowercase();
                let one = |(position, field)| format!("--field-config=field-path='{field}',order={}", order(position));
                let fields: Vec<String> = fields.iter().enumerate().map(one).collect();
                let scope = if self.is_group { " --query-scope=collection-group" } else { "" };
                format!("gcloud firestore indexes composite create {of}{scope} {}", fields.join(" "))
            }
        }
    }
}

/// The same as a `firestore.indexes.json`.
pub fn as_json(indexes: &[Index]) -> Value {
    let ordered = |order: &str, scope: &str| json!({ "order": order, "queryScope": scope });
    let composite = indexes.iter().filter(|index| index.fields.len() > 1).map(|index| {
        let one = |(position, field)| json!({ "fieldPath": field, "order": index.order(position) });
        let fields: Vec<Value> = index.fields.iter().enumerate().map(one).collect();
        json!({ "collectionGroup": index.collection, "queryScope": index.scope(), "fields": fields })
    });
    let overrides = indexes.iter().filter(|index| index.fields.len() == 1).map(|index| {
        let automatic = ["ASCENDING", "DESCENDING"].map(|order| ordered(order, "COLLECTION"));
        let group = ordered(index.order(0), "COLLECTION_GROUP");
        let own = if index.is_wanted { automatic.into_iter().chain([group]).collect() } else { vec![] };
        json!({ "collectionGroup": index.collection, "fieldPath": index.fields[0], "indexes": own })
    });
    json!({ "indexes": composite.collect::<Vec<_>>(), "fieldOverrides": overrides.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use firestore::gcloud_sdk::google::firestore::v1::structured_query::filter::FilterType;

    use super::super::query::{self, Question};
    use super::*;
    use crate::listing::Listing;
    use crate::port::MeetingQuery;

    /// The fields of a query in the order of an index for it, without the document's name.
    fn fields(question: &Question) -> Vec<String> {
        let mut fields = Vec::new();
        let mut add = |path: &str| {
            if path != "__name__" && !fields.iter().any(|known| known == path) {
                fields.push(path.to_owned());
            }
        };
        let mut open: Vec<_> = question.query.r#where.iter().cloned().collect();
        while let Some(filter) = open.pop() {
            match filter.filter_type.unwrap() {
                FilterType::FieldFilter(filter) => add(&filter.field.unwrap().field_path),
                FilterType::CompositeFilter(both) => open.extend(both.filters.into_iter().rev()),
                FilterType::UnaryFilter(_) => panic!("an unary filter is new here"),
            }
        }
        question.query.order_by.iter().for_each(|order| add(&order.field.as_ref().unwrap().field_path));
        fields
    }

    #[test]
    fn every_query_has_an_automatic_index_or_one_of_these() {
        let group = Naming {
            meetings_collection: "calls".into(),
            query_mode: QueryMode::CollectionGroup,
            meeting_status_field: "state".into(),
            ..Naming::default()
        };
        let nested = Naming { meetings_collection: "organizations/a/meetings".into(), ..Naming::default() };
        for naming in [Naming::default(), group, nested] {
            let (statuses, at) = (vec!["scheduled".to_owned()], DateTime::UNIX_EPOCH);
            let questions = [
                query::meetings(&naming, &MeetingQuery::WithStatus(statuses.clone())),
                query::meetings(&naming, &MeetingQuery::StartingWithin { statuses: statuses.clone(), from: at, to: at }),
                query::instances(&naming, &statuses),
                query::whole_collection(String::new(), "events"),
            ];
            for question in questions {
                let (fields, from) = (fields(&question), &question.query.from[0]);
                let is_automatic = fields.len() < 2 && !from.all_descendants;
                let is_listed = indexes(&naming).iter().any(|index| {
                    index.is_wanted
                        && (&index.collection, index.is_group, &index.fields)
                            == (&from.collection_id, from.all_descendants, &fields)
                });
                assert!(is_automatic || is_listed, "{naming:?}: {from:?} {fields:?}");
            }
        }
    }

    #[test]
    fn every_list_has_an_index_for_each_of_its_filters() {
        let group = Naming { query_mode: QueryMode::CollectionGroup, ..Naming::default() };
        for naming in [Naming::default(), group] {
            let filters = [
                (Listed::Meetings, vec![ListField::Organization, ListField::Status]),
                (
                    Listed::Instances,
                    vec![ListField::Organization, ListField::Status, ListField::Phase, ListField::Platform, ListField::Outcome],
                ),
                (Listed::Events, vec![ListField::Organization]),
                (Listed::Audit, vec![ListField::Organization]),
                (Listed::ApiKeys, vec![]),
                (Listed::Replays, vec![]),
                (Listed::Outbox, vec![]),
                (Listed::Endpoints, vec![ListField::Organization]),
                (Listed::Deliveries, vec![ListField::Endpoint]),
                (Listed::Pending, vec![ListField::Endpoint]),
                (Listed::Organizations, vec![]),
            ];
            for (kind, filters) in filters {
                let is_oldest_first = matches!(kind, Listed::Events | Listed::Pending);
                let listing = if is_oldest_first { Listing::oldest(kind) } else { Listing::newest(kind) };
                let alone = (listing.clone(), vec![kind.instant_field().to_owned()]);
                let filtered = filters.into_iter().map(|field| {
                    let name = field.name(kind, &naming).to_owned();
                    (listing.clone().with(field, vec!["x".into()]), vec![name, kind.instant_field().to_owned()])
                });
                for (listing, wanted) in std::iter::once(alone).chain(filtered) {
                    let question = query::listing(&naming, &listing);
                    let from = &question.query.from[0];
                    assert_eq!(fields(&question), wanted);
                    let is_automatic = wanted.len() < 2 && !from.all_descendants;
                    let is_listed = indexes(&naming).iter().any(|index| {
                        index.is_wanted
                            && index.is_newest_first == listing.is_newest_first
                            && (&index.collection, index.is_group, &index.fields)
                                == (&from.collection_id, from.all_descendants, &wanted)
                    });
                    assert!(is_automatic || is_listed, "{kind:?} {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn an_organization_s_forecast_has_an_index_for_each_of_its_filters() {
        let naming = Naming::default();
        for field in [ListField::Organization, ListField::Status] {
            let listing = Listing::oldest(Listed::Meetings).with(field, vec!["x".into()]);
            let wanted = fields(&query::listing(&naming, &listing));
            let is_it = |index: &Index| index.collection == "meetings" && index.fields == wanted && !index.is_newest_first;
            assert!(indexes(&naming).iter().any(|index| index.is_wanted && is_it(index)), "{field:?}");
        }
    }

    #[test]
    fn the_json_says_the_same_as_the_commands() {
        let all = indexes(&Naming { query_mode: QueryMode::CollectionGroup, ..Naming::default() });
        let json = as_json(&all);
        assert_eq!(json["indexes"][0]["queryScope"], "COLLECTION_GROUP");
        let count = |name: &str| json[name].as_array().unwrap().len();
        assert_eq!(count("fieldOverrides"), all.iter().filter(|index| index.fields.len() == 1).count());
        assert_eq!(count("indexes") + count("fieldOverrides"), all.len());
        assert!(all[0].command("(default)").contains("--query-scope=collection-group"));
    }
}
