//! Linked meetings that asked for a path of their own: a pointer lies there before the recording is done.

use bot_model::document::{BotInstance, Fields, LinkedMeeting};
use bot_model::exit_code::ExitCode;
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::lifecycle::Phase;
use bot_model::manifest::RecordingPointer;
use bot_model::meeting_url::MeetingUrl;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_store::protocol::paths;
use bot_store::{DocumentKey, Write};
use manager::record::finalize_only;
use serde_json::json;

use crate::bench::{Bench, Capture, epoch, never, record};

/// Links `meetings/twin`, which asked for `path`, to the bench's instance.
async fn link_twin(bench: &Bench, path: &str) -> MeetingPath {
    let twin = MeetingPath::parse("meetings/twin").unwrap();
    let mut instance = bench.instance().await;
    let gcs_path = Some(ObjectPrefix::parse(path).unwrap());
    instance.instance.facts.linked_meetings.push(LinkedMeeting { path: twin.clone(), gcs_path, pointer: None });
    let (key, fields) = (DocumentKey::Instance(bench.id.clone()), instance.instance.encode(bench.store.naming()));
    let mut meeting = Fields::new();
    meeting.insert("status".into(), json!("scheduled"));
    let writes = vec![Write::update(key, instance.version, fields), Write::create(DocumentKey::Meeting(twin.clone()), meeting)];
    assert!(bench.store.commit(writes).await.unwrap().is_applied());
    twin
}

/// Another instance, in a phase, that owns `path`.
async fn owner(bench: &Bench, id: &str, path: &str, phase: Phase) {
    let id = InstanceId::parse(id).unwrap();
    let mut other = BotInstance::queued(id.clone(), MeetingUrl::parse("https://zoom.us/j/123456789").unwrap());
    other.phase = phase;
    let write = Write::create(DocumentKey::Instance(id), other.encode(bench.store.naming()));
    assert!(bench.store.commit(vec![write]).await.unwrap().is_applied());
    let path = ObjectPrefix::parse(path).unwrap();
    assert_eq!(paths::reserve(bench.store.as_ref(), &other, &path).await.unwrap(), path);
}

async fn finalized(bench: &Bench) -> BotInstance {
    record(&bench.session(), 0, &Capture::starting(epoch()));
    bench.carry().await;
    bench.relaunch().await;
    let config = bench.config("r2").await;
    assert_eq!(finalize_only(&config, bench.store.as_ref(), never()).await.unwrap(), ExitCode::Settled);
    bench.instance().await.instance
}

fn pointer(bench: &Bench, path: &str) -> RecordingPointer {
    let file = bench.folder.path().join("bucket").join(path).join(ObjectName::Manifest.file_name());
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_meeting_with_a_path_of_its_own_gets_a_pointer_and_says_where() {
    let bench = Bench::new().await;
    let twin = link_twin(&bench, "other/place").await;
    let instance = finalized(&bench).await;
    assert_eq!(instance.phase, Phase::Done);
    let found = pointer(&bench, "other/place");
    let objects: Vec<String> = instance.facts.artifacts.iter().map(|artifact| artifact.object.clone()).collect();
    assert_eq!((found.files.as_slice(), &found.recording), (&objects[..2], &objects[2]));
    let address = format!("{}/other/place/recording.json", bench.bucket_url());
    let linked: Vec<_> = instance.facts.linked_meetings.iter().map(|meeting| meeting.pointer.as_deref()).collect();
    assert_eq!(linked, [None, Some(address.as_str())]);
    let meeting = bench.store.read(&DocumentKey::Meeting(twin)).await.unwrap().unwrap();
    assert_eq!(meeting.fields["recording_pointer"], json!(address));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_never_lies_in_the_path_of_another_recording() {
    let bench = Bench::new().await;
    owner(&bench, "b2", "other/place", Phase::Recording).await;
    link_twin(&bench, "other/place").await;
    finalized(&bench).await;
    assert!(!bench.folder.path().join("bucket/other/place/recording.json").exists());
    assert_eq!(pointer(&bench, &format!("other/place/{}", bench.id)).bot_instance_id, bench.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_whose_owner_handed_its_meetings_over_gets_the_pointer_itself() {
    let bench = Bench::new().await;
    owner(&bench, "b2", "other/place", Phase::Cancelled).await;
    link_twin(&bench, "other/place").await;
    finalized(&bench).await;
    assert_eq!(pointer(&bench, "other/place").bot_instance_id, bench.id);
}
