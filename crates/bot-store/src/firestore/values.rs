//! JSON to Firestore values and back. Instants travel as Timestamps; what JSON cannot hold becomes an object that decodes
//! as a wrong type everywhere, and never a panic.

use std::collections::HashMap;

use bot_model::document::{Fields, is_instant_key};
use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{ArrayValue, MapValue, Value as Stored};
use firestore::gcloud_sdk::prost_types::Timestamp;
use serde_json::{Map, Number, Value, json};

/// The fields to store: top-level nulls are left out, for there they mean "cleared".
pub(super) fn to_stored_fields(fields: &Fields) -> HashMap<String, Stored> {
    fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), to_stored(key, value))).collect()
}

/// The fields as JSON.
pub(super) fn from_stored_fields(fields: &HashMap<String, Stored>) -> Fields {
    fields.iter().map(|(key, value)| (key.clone(), from_stored(value))).collect()
}

/// A Timestamp of an instant, in the microseconds that Firestore keeps.
pub(super) fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    // A leap second has more than 10^9 nanoseconds here, which Firestore refuses.
    let nanos = instant.timestamp_subsec_nanos().min(999_999_999) / 1000 * 1000;
    Timestamp { seconds: instant.timestamp(), nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// The instant of a field that holds a Timestamp.
pub(super) fn instant_field(fields: &HashMap<String, Stored>, key: &str) -> Option<DateTime<Utc>> {
    match fields.get(key)?.value_type.as_ref()? {
        ValueType::TimestampValue(stamp) => DateTime::from_timestamp(stamp.seconds, u32::try_from(stamp.nanos).ok()?),
        _ => None,
    }
}

/// A stored value of a plain string.
pub(super) fn string(text: &str) -> Stored {
    Stored { value_type: Some(ValueType::StringValue(text.to_owned())) }
}

fn to_stored(key: &str, value: &Value) -> Stored {
    let value_type = match value {
        Value::Null => ValueType::NullValue(0),
        Value::Bool(flag) => ValueType::BooleanValue(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => ValueType::IntegerValue(whole),
            None => ValueType::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => match instant_of(key, text) {
            Some(instant) => ValueType::TimestampValue(timestamp(instant)),
            None => ValueType::StringValue(text.clone()),
        },
        Value::Array(values) => {
            ValueType::ArrayValue(ArrayValue { values: values.iter().map(|value| to_stored(key, value)).collect() })
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), to_stored(key, value))).collect();
            ValueType::MapValue(MapValue { fields })
        }
    };
    Stored { value_type: Some(value_type) }
}

fn instant_of(key: &str, text: &str) -> Option<DateTime<Utc>> {
    let parsed = is_instant_key(key).then(|| DateTime::parse_from_rfc3339(text).ok()).flatten()?.with_timezone(&Utc);
    // Firestore's Timestamps begin with the year 1.
    (1..=9999).contains(&parsed.year()).then_some(parsed)
}

fn from_stored(value: &Stored) -> Value {
    match &value.value_type {
        None | Some(ValueType::NullValue(_)) => Value::Null,
        Some(ValueType::BooleanValue(flag)) => Value::Bool(*flag),
        Some(ValueType::IntegerValue(whole)) => Value::from(*whole),
        Some(ValueType::DoubleValue(number)) => Number::from_f64(*number).map_or_else(|| foreign("double"), Value::Number),
        Some(ValueType::TimestampValue(stamp)) => from_timestamp(stamp),
        Some(ValueType::StringValue(text)) => Value::String(text.clone()),
        Some(ValueType::ArrayValue(array)) => Value::Array(array.values.iter().map(from_stored).collect()),
        Some(ValueType::MapValue(map)) => {
            Value::Object(map.fields.iter().map(|(key, value)| (key.clone(), from_stored(value))).collect::<Map<_, _>>())
        }
        Some(ValueType::BytesValue(_)) => foreign("bytes"),
        Some(ValueType::ReferenceValue(_)) => foreign("reference"),
        Some(ValueType::GeoPointValue(_)) => foreign("geo_point"),
        Some(_) => foreign("expression"),
    }
}

fn from_timestamp(stamp: &Timestamp) -> Value {
    let nanos = u32::try_from(stamp.nanos).ok();
    nanos
        .and_then(|nanos| DateTime::from_timestamp(stamp.seconds, nanos))
        .map_or_else(|| foreign("timestamp"), |instant| Value::String(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

/// An object is a wrong type for every field that we read; a string or a null might pass for a value.
fn foreign(kind: &str) -> Value {
    json!({ "unreadable_firestore_type": kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use firestore::gcloud_sdk::google::r#type::LatLng;
    use proptest::prelude::*;

    fn round_trip(key: &str, value: Value) -> Value {
        from_stored(&to_stored(key, &value))
    }

    #[test]
    fn an_instant_becomes_a_timestamp_and_comes_back_in_utc() {
        let stored = to_stored("start_time", &json!("2027-01-15T09:00:00.25+01:00"));
        assert_eq!(stored.value_type, Some(ValueType::TimestampValue(Timestamp { seconds: 1_800_000_000, nanos: 250_000_000 })));
        assert_eq!(from_stored(&stored), json!("2027-01-15T08:00:00.250Z"));
        assert_eq!(round_trip("run_at", json!("2027-01-15T08:00:00Z")), json!("2027-01-15T08:00:00Z"));
    }

    #[test]
    fn a_string_that_is_no_instant_stays_a_string() {
        for (key, text) in [("start_time", "tomorrow"), ("title", "2027-01-15T08:00:00Z"), ("at", "2027-01-15T08:00:00Z")] {
            assert_eq!(to_stored(key, &json!(text)), string(text), "{key}");
        }
        assert_eq!(to_stored("start_time", &json!("0000-01-01T00:00:00Z")), string("0000-01-01T00:00:00Z"));
    }

    #[test]
    fn instants_nested_in_maps_and_arrays_are_timestamps_too() {
        let value = json!({"claimed_at": "2027-01-15T08:00:00Z", "list": [{"ended_at": "2027-01-15T08:00:00.000001Z"}]});
        assert_eq!(round_trip("claim", value.clone()), value);
    }

    #[test]
    fn what_json_cannot_hold_reads_as_an_object() {
        for value in [
            ValueType::DoubleValue(f64::NAN),
            ValueType::DoubleValue(f64::NEG_INFINITY),
            ValueType::BytesValue(vec![0, 255]),
            ValueType::ReferenceValue("projects/p/databases/d/documents/a/b".into()),
            ValueType::GeoPointValue(LatLng { latitude: 91.0, longitude: 0.0 }),
            ValueType::TimestampValue(Timestamp { seconds: i64::MAX, nanos: -1 }),
            ValueType::FieldReferenceValue("a".into()),
        ] {
            let read = from_stored(&Stored { value_type: Some(value.clone()) });
            assert!(read.is_object(), "{value:?} became {read}");
        }
    }

    #[test]
    fn a_top_level_null_is_left_out_and_a_nested_one_kept() {
        let fields = json!({"cleared": null, "kept": {"inner": null}});
        let stored = to_stored_fields(fields.as_object().unwrap());
        assert_eq!(stored.keys().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(Value::Object(from_stored_fields(&stored)), json!({"kept": {"inner": null}}));
    }

    proptest! {
        #[test]
        fn a_timestamp_never_panics(seconds: i64, nanos: i32) {
            let value = from_stored(&Stored { value_type: Some(ValueType::TimestampValue(Timestamp { seconds, nanos })) });
            prop_assert!(value.is_string() || value.is_object());
        }

        #[test]
        fn whole_numbers_strings_and_flags_come_back_the_same(number: i64, text: String, flag: bool) {
            for value in [json!(number), json!(text), json!(flag), json!([{"inner": text}])] {
                prop_assert_eq!(round_trip("field", value.clone()), value);
            }
        }
    }
}
