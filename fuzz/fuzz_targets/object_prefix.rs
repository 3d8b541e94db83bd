//! Whatever is accepted stays where it says.
#![no_main]

use bot_model::object_prefix::{ObjectName, ObjectPrefix};

libfuzzer_sys::fuzz_target!(|input: &str| {
    if let Ok(prefix) = ObjectPrefix::parse(input) {
        let object = prefix.object(ObjectName::Video);
        assert!(object.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != ".."));
        assert!(!object.starts_with('/') && object.starts_with(prefix.as_str()));
    }
});
