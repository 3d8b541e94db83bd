//! No document, whatever it holds, makes a reader panic.
#![no_main]

use bot_model::configuration::Naming;
use bot_model::document::{BotInstance, Meeting};
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::manifest::RecordingManifest;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let naming = Naming::default();
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(input) {
        let path = MeetingPath::parse("meetings/m").expect("a path");
        let _ = Meeting::decode(&path, &fields, &naming);
        let id = InstanceId::parse("b").expect("an id");
        if let Ok(instance) = BotInstance::decode(&id, &fields, &naming) {
            let again = BotInstance::decode(&id, &instance.encode(&naming), &naming);
            assert_eq!(again.map(|again| again.phase), Ok(instance.phase));
        }
    }
    let _ = serde_json::from_slice::<RecordingManifest>(input);
});
