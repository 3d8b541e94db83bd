//! Settings that controller and manager must read alike: names of collections, fields and values in the store.
//!
//! Names and defaults are those of the original data model; every one of them is configurable by the same variable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lifecycle::{DoneWhen, Status};

/// One unusable setting. All of a process's problems are reported together, with exit code 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// What it holds, or nothing for a secret.
    pub got: String,
    /// What it should hold.
    pub wants: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: got {:?}, wants {}", self.variable, self.got, self.wants)
    }
}

/// Where meetings are discovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryMode {
    /// `MEETINGS_COLLECTION_PATH` is the path of one collection.
    #[default]
    Collection,
    /// `MEETINGS_COLLECTION_PATH` is a collection id, wherever it occurs.
    CollectionGroup,
}

/// Names and values in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// `MEETINGS_COLLECTION_PATH`.
    pub meetings_collection: String,
    /// `MEETINGS_QUERY_MODE`.
    pub query_mode: QueryMode,
    /// `MEETING_STATUS_FIELD`.
    pub meeting_status_field: String,
    /// `MEETING_STATUS_VALUES`: those that want a bot.
    pub meeting_status_values: Vec<String>,
    /// `MEETING_CANCEL_VALUES`: those that cancel one.
    pub meeting_cancel_values: Vec<String>,
    /// `MEETING_BOT_INSTANCE_FIELD`.
    pub meeting_bot_instance_field: String,
    /// `BOT_INSTANCE_STATUS_FIELD`.
    pub instance_status_field: String,
    /// `BOT_INSTANCE_{QUEUED,PROCESSING,DONE,FAILED}_VALUE`, in this order.
    pub instance_status_values: [String; 4],
    /// `DONE_WHEN`.
    pub done_when: DoneWhen,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            meetings_collection: "meetings".into(),
            query_mode: QueryMode::Collection,
            meeting_status_field: "status".into(),
            meeting_status_values: vec!["scheduled".into()],
            meeting_cancel_values: vec!["cancelled".into()],
            meeting_bot_instance_field: "bot_instance_id".into(),
            instance_status_field: "status".into(),
            instance_status_values: ["queued".into(), "processing".into(), "done".into(), "failed".into()],
            done_when: DoneWhen::FilesVerified,
        }
    }
}

/// The variables that [`Naming::read`] knows, each to be handed on to a manager.
pub const NAMING_VARIABLES: [&str; 12] = [
    "MEETINGS_COLLECTION_PATH",
    "MEETINGS_QUERY_MODE",
    "MEETING_STATUS_FIELD",
    "MEETING_STATUS_VALUES",
    "MEETING_CANCEL_VALUES",
    "MEETING_BOT_INSTANCE_FIELD",
    "BOT_INSTANCE_STATUS_FIELD",
    "BOT_INSTANCE_QUEUED_VALUE",
    "BOT_INSTANCE_PROCESSING_VALUE",
    "BOT_INSTANCE_DONE_VALUE",
    "BOT_INSTANCE_FAILED_VALUE",
    "DONE_WHEN",
];

impl Naming {
    /// Reads the variables through `lookup` (an empty value counts as absent), with every problem at once.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let found = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let default = Self::default();
        let mut field = |name: &str, default: String| match found(name) {
            None => default,
            Some(value) if is_field_name(&value) => value,
            Some(value) => {
                let wants = "a field name of letters, digits and _ that starts with no digit".to_owned();
                problems.push(Problem { variable: name.into(), got: value, wants });
                default
            }
        };
        let meeting_status_field = field("MEETING_STATUS_FIELD", default.meeting_status_field);
        let meeting_bot_instance_field = field("MEETING_BOT_INSTANCE_FIELD", default.meeting_bot_instance_field);
        let instance_status_field = field("BOT_INSTANCE_STATUS_FIELD", default.instance_status_field);
        let value = |name: &str, default: &String| found(name).map_or_else(|| default.clone(), |value| value.trim().to_owned());
        let [queued, processing, done, failed] = &default.instance_status_values;
        let instance_status_values = [
            value("BOT_INSTANCE_QUEUED_VALUE", queued),
            value("BOT_INSTANCE_PROCESSING_VALUE", processing),
            value("BOT_INSTANCE_DONE_VALUE", done),
            value("BOT_INSTANCE_FAILED_VALUE", failed),
        ];
        let list = |name: &str, default: Vec<String>| found(name).map_or(default, |text| split_list(&text));
        let naming = Self {
            meetings_collection: value("MEETINGS_COLLECTION_PATH", &default.meetings_collection),
            query_mode: found("MEETINGS_QUERY_MODE").map_or(QueryMode::Collection, |mode| match mode.trim() {
                "collection_group" => QueryMode::CollectionGroup,
                "collection" => QueryMode::Collection,
                other => {
                    problems.push(Problem {
                        variable: "MEETINGS_QUERY_MODE".into(),
                        got: other.into(),
                        wants: "collection or collection_group".into(),
                    });
                    QueryMode::Collection
                }
            }),
            meeting_status_field,
            meeting_status_values: list("MEETING_STATUS_VALUES", default.meeting_status_values),
            meeting_cancel_values: list("MEETING_CANCEL_VALUES", default.meeting_cancel_values),
            meeting_bot_instance_field,
            instance_status_field,
            instance_status_values,
            done_when: found("DONE_WHEN").map_or(DoneWhen::FilesVerified, |text| match text.trim() {
                "files_verified" => DoneWhen::FilesVerified,
                "job_created" => DoneWhen::JobCreated,
                other => {
                    problems.push(Problem {
                        variable: "DONE_WHEN".into(),
                        got: other.into(),
                        wants: "files_verified or job_created".into(),
                    });
                    DoneWhen::FilesVerified
                }
            }),
        };
        naming.check(&mut problems);
        if problems.is_empty() { Ok(naming) } else { Err(problems) }
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        let mut problem = |variable: &str, got: String, wants: &str| {
            problems.push(Problem { variable: variable.into(), got, wants: wants.into() })
        };
        let segments: Vec<&str> = self.meetings_collection.split('/').collect();
        match self.query_mode {
            QueryMode::Collection if segments.len().is_multiple_of(2) || segments.contains(&"") => problem(
                "MEETINGS_COLLECTION_PATH",
                self.meetings_collection.clone(),
                "the path of a collection: an odd number of segments",
            ),
            QueryMode::CollectionGroup if segments.len() != 1 => problem(
                "MEETINGS_COLLECTION_PATH",
                self.meetings_collection.clone(),
                "a collection id without a slash, as MEETINGS_QUERY_MODE is collection_group",
            ),
            _ => {}
        }
        for (name, values) in
            [("MEETING_STATUS_VALUES", &self.meeting_status_values), ("MEETING_CANCEL_VALUES", &self.meeting_cancel_values)]
        {
            // Firestore's `in` takes at most 30 values.
            if values.is_empty() || values.len() > 30 {
                problem(name, values.join(","), "1 to 30 values, separated by commas");
            }
        }
        if self.meeting_status_values.iter().any(|value| self.meeting_cancel_values.contains(value)) {
            problem(
                "MEETING_CANCEL_VALUES",
                self.meeting_cancel_values.join(","),
                "values that are not in MEETING_STATUS_VALUES",
            );
        }
        let distinct: std::collections::BTreeSet<&String> = self.instance_status_values.iter().collect();
        if distinct.len() < 4 {
            problem("BOT_INSTANCE_*_VALUE", self.instance_status_values.join(","), "four different values");
        }
    }

    /// The stored value of a status.
    pub fn status_value(&self, status: Status) -> &str {
        let [queued, processing, done, failed] = &self.instance_status_values;
        match status {
            Status::Queued => queued,
            Status::Processing => processing,
            Status::Done => done,
            Status::Failed => failed,
        }
    }

    /// The status of a stored value; `None` for one that we do not know and must not act on.
    pub fn status_of(&self, value: &str) -> Option<Status> {
        [Status::Queued, Status::Processing, Status::Done, Status::Failed]
            .into_iter()
            .find(|status| self.status_value(*status) == value)
    }

    /// The variables that make another process read the same naming.
    pub fn variables(&self) -> BTreeMap<&'static str, String> {
        let [queued, processing, done, failed] = self.instance_status_values.clone();
        let mode = match self.query_mode {
            QueryMode::Collection => "collection",
            QueryMode::CollectionGroup => "collection_group",
        };
        let done_when = match self.done_when {
            DoneWhen::FilesVerified => "files_verified",
            DoneWhen::JobCreated => "job_created",
        };
        BTreeMap::from([
            ("MEETINGS_COLLECTION_PATH", self.meetings_collection.clone()),
            ("MEETINGS_QUERY_MODE", mode.to_owned()),
            ("MEETING_STATUS_FIELD", self.meeting_status_field.clone()),
            ("MEETING_STATUS_VALUES", self.meeting_status_values.join(",")),
            ("MEETING_CANCEL_VALUES", self.meeting_cancel_values.join(",")),
            ("MEETING_BOT_INSTANCE_FIELD", self.meeting_bot_instance_field.clone()),
            ("BOT_INSTANCE_STATUS_FIELD", self.instance_status_field.clone()),
            ("BOT_INSTANCE_QUEUED_VALUE", queued),
            ("BOT_INSTANCE_PROCESSING_VALUE", processing),
            ("BOT_INSTANCE_DONE_VALUE", done),
            ("BOT_INSTANCE_FAILED_VALUE", failed),
            ("DONE_WHEN", done_when.to_owned()),
        ])
    }
}

fn is_field_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Naming, Vec<Problem>> {
        Naming::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        assert_eq!(read(&[]), Ok(Naming::default()));
        assert_eq!(read(&[("MEETING_STATUS_VALUES", " ")]), Ok(Naming::default()));
    }

    #[test]
    fn all_problems_come_at_once() {
        let problems = read(&[
            ("MEETINGS_QUERY_MODE", "everything"),
            ("MEETINGS_COLLECTION_PATH", "a/b"),
            ("MEETING_STATUS_FIELD", "sta tus"),
            ("MEETING_STATUS_VALUES", "cancelled"),
            ("BOT_INSTANCE_DONE_VALUE", "failed"),
            ("DONE_WHEN", "soon"),
        ])
        .unwrap_err();
        assert_eq!(problems.len(), 6, "{problems:?}");
    }

    #[test]
    fn what_is_handed_on_reads_back_the_same() {
        let naming = read(&[
            ("MEETINGS_QUERY_MODE", "collection_group"),
            ("MEETING_STATUS_VALUES", "scheduled, confirmed"),
            ("BOT_INSTANCE_QUEUED_VALUE", "pending"),
            ("DONE_WHEN", "job_created"),
        ])
        .unwrap();
        let variables = naming.variables();
        assert_eq!(Naming::read(|name| variables.get(name).cloned()), Ok(naming));
    }
}
