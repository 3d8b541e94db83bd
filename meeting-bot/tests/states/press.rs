//! A press reaches the element that it was decided for, or nothing: dialogs that go, move, change or are covered on the way, each with
//! a Leave button exactly beneath, on every platform.

use std::time::Duration;

use bot_model::meeting_url::Platform;
use bot_model::session::SessionLimits;
use meeting_bot::browser::Point;
use meeting_bot::platform::engine::Engine;
use meeting_bot::platform::pack::Meaning;
use tokio::time::Instant;

use crate::browser::{Case, Looker};

const LIMIT: Duration = Duration::from_secs(10);
/// Looks after the trouble: enough for a press that should not be made.
const LOOKS: usize = 4;

/// A call with a dialog whose button lies over the one that leaves. `#answer` answers it, `#over` is the button of the end's dialog,
/// which hides both. What buttons hear of a press is written down, and `trouble` happens once, in a listener before all others: at
/// `mouseover` once the mouse is over the answer, at `pointerdown` and `mousedown` as it is pressed.
macro_rules! call {
    ($at:literal, $call:literal, $leave:literal, $dialog:literal, $answer:literal, $end:literal, $trouble:literal) => {
        concat!(
            "<style>.here { position: fixed; left: 400px; top: 300px; } .here button, button.here { width: 200px; height: 60px; }</style>",
            $call, "<button id=leave class=here ", $leave, "</button>",
            "<div id=dialog class=here style='z-index: 2' ", $dialog, "><button id=answer ", $answer, "</button><p id=words>This meeting is being recorded</p></div>",
            "<div id=end class=here style='z-index: 3' hidden ", $dialog, "><button id=over ", $answer, "</button><p>", $end, "</p></div>",
            "<script>
            const by = (id) => document.getElementById(id), root = document.documentElement;
            const end = '", $end, "';
            const leaving = () => { for (const { name, value } of by('leave').attributes) if (!['id', 'class'].includes(name)) by('answer').setAttribute(name, value); };
            let is_over = false;
            window.addEventListener('", $at, "', (event) => { if (!is_over && event.target.id === 'answer') { is_over = true; ", $trouble, "; root.dataset.trouble = 'made'; } }, true);
            for (const kind of ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click']) {
              document.addEventListener(kind, (event) => { if (event.target.localName === 'button') root.dataset.heard = `${root.dataset.heard || ''} ${event.target.id}:${kind}@${Math.round(performance.now())}`; });
            }
            </script>"
        )
    };
}

macro_rules! calls {
    ($call:literal, $leave:literal, $dialog:literal, $answer:literal, $end:literal) => {
        &[
            ("goes", call!("mouseover", $call, $leave, $dialog, $answer, $end, "by('dialog').remove()"), &[]),
            ("goes_at_press", call!("pointerdown", $call, $leave, $dialog, $answer, $end, "by('dialog').hidden = true"), &[]),
            ("goes_half_pressed", call!("mousedown", $call, $leave, $dialog, $answer, $end, "by('dialog').hidden = true"), &[]),
            ("moves", call!("mouseover", $call, $leave, $dialog, $answer, $end, "by('dialog').style.top = '480px'"), &[]),
            ("ends", call!("mouseover", $call, $leave, $dialog, $answer, $end, "by('end').hidden = false"), &[]),
            ("ends_at_press", call!("pointerdown", $call, $leave, $dialog, $answer, $end, "by('end').hidden = false"), &[]),
            ("changes", call!("mouseover", $call, $leave, $dialog, $answer, $end, "by('words').textContent = end"), &[]),
            (
                "changes_at_press",
                call!("pointerdown", $call, $leave, $dialog, $answer, $end, "by('words').textContent = end"),
                &[],
            ),
            ("leaves_at_press", call!("pointerdown", $call, $leave, $dialog, $answer, $end, "leaving()"), &[]),
            ("stays", call!("click", $call, $leave, $dialog, $answer, $end, "0"), &[]),
        ]
    };
}

const MEET: &[Case] = calls!(
    r#"<div data-participant-id="1" data-self-name="Recorder">Recorder</div><div data-participant-id="2">Ann</div><button aria-label="Turn on captions">c</button>"#,
    r#"aria-label="Leave call">Leave"#,
    r#"role=dialog aria-modal=true"#,
    r#"data-mdc-dialog-action="ok">OK"#,
    "Your host ended the meeting for everyone"
);
const TEAMS: &[Case] = calls!(
    r#"<div data-stream-type="Video" data-tid="Ann">Ann</div><button id="raisehands-button">Raise</button>"#,
    r#"data-tid="hangup-main-btn" aria-label="Leave">Leave"#,
    r#"role=dialog aria-modal=true"#,
    ">OK",
    "The meeting has ended"
);
const ZOOM: &[Case] = calls!(
    r#"<footer id="wc-footer"><button aria-label="open the participants list pane,2 participants">2 Participants</button></footer>"#,
    r#"aria-label="Leave">Leave"#,
    r#"role=dialog aria-modal=true"#,
    r#"class="zm-btn--primary">OK"#,
    "This meeting has been ended by host"
);

/// A call that was just opened, with the mouse far from everything.
struct Call<'a> {
    looker: &'a Looker,
    engine: Engine,
    what: String,
}

impl<'a> Call<'a> {
    async fn open(looker: &'a Looker, name: &str) -> Self {
        // On the page before: on its way it would make the trouble.
        looker.browser.page().click(Point { x: 10.0, y: 200.0 }).await.unwrap();
        looker.look(name).await;
        let mut pack = looker.pack.clone();
        // As soon as the page lets it.
        pack.step.iter_mut().for_each(|step| step.again_after_secs = 0);
        let what = format!("{} {name}", pack.platform);
        let engine = Engine::new(looker.browser.page().clone(), pack, Some(looker.host()), SessionLimits::default(), "Recorder");
        Self { looker, engine, what }
    }

    async fn noted(&self, name: &str) -> String {
        let value = self.looker.browser.page().evaluate(&format!("document.documentElement.dataset.{name} || ''")).await.unwrap();
        value.as_str().unwrap().to_owned()
    }

    /// What buttons heard, and when, in milliseconds.
    async fn heard(&self) -> Vec<(String, f64)> {
        let heard = self.noted("heard").await;
        let parts = heard.split_whitespace().map(|one| one.split_once('@').unwrap());
        parts.map(|(what, at)| (what.to_owned(), at.parse().unwrap())).collect()
    }

    /// Looks and does steps until the trouble was made, and some more.
    async fn play(&mut self) -> Vec<String> {
        let begun = Instant::now();
        let mut looks = 0;
        while looks < LOOKS {
            self.engine.tick(Duration::ZERO).await.unwrap();
            looks += usize::from(!self.noted("trouble").await.is_empty());
            assert!(begun.elapsed() < LIMIT, "{}: nothing was pressed: {:?}", self.what, self.engine.last_look());
        }
        self.heard().await.into_iter().map(|(what, _)| what).collect()
    }
}

/// Makes the answer a button that leaves.
const LEAVING: &str = "for (const { name, value } of document.getElementById('leave').attributes) {
    if (!['id', 'class'].includes(name)) document.getElementById('answer').setAttribute(name, value);
}";
const WHOLE: [&str; 5] = ["answer:pointerdown", "answer:mousedown", "answer:pointerup", "answer:mouseup", "answer:click"];

async fn every_call(platform: Platform, cases: &'static [Case]) {
    let looker = Looker::start(platform, cases).await;
    let mut wrong = Vec::new();
    for (name, _, _) in cases.iter().filter(|(name, ..)| *name != "stays") {
        let mut call = Call::open(&looker, name).await;
        let heard = call.play().await;
        // What was pressed in part, was pressed before the page changed.
        let fits = match *name {
            "moves" => heard == WHOLE,
            "goes_half_pressed" => heard == WHOLE[..2],
            _ => heard.is_empty(),
        };
        println!("{}: {heard:?}", call.what);
        if !fits {
            wrong.push(format!("{}: {heard:?}", call.what));
        }
        if *name == "goes" {
            leaving_leaves(call).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    an_answered_dialog_rests(&looker).await;
    what_leaves_is_no_answer(&looker).await;
    looker.stop().await;
}

async fn an_answered_dialog_rests(looker: &Looker) {
    let mut call = Call::open(looker, "stays").await;
    let begun = Instant::now();
    let clicks = loop {
        call.engine.tick(Duration::ZERO).await.unwrap();
        let heard = call.heard().await;
        let clicks: Vec<f64> = heard.iter().filter(|(what, _)| what == "answer:click").map(|(_, at)| *at).collect();
        if clicks.len() > 1 {
            break clicks;
        }
        assert!(begun.elapsed() < LIMIT, "{}: {heard:?}", call.what);
    };
    assert!(clicks[1] - clicks[0] >= 650.0, "{}: pressed again after {} ms", call.what, clicks[1] - clicks[0]);
}

/// A dialog's button that reads like an answer and is, by the pack, one that leaves.
async fn what_leaves_is_no_answer(looker: &Looker) {
    let mut call = Call::open(looker, "stays").await;
    looker.browser.page().evaluate(LEAVING).await.unwrap();
    for _ in 0..LOOKS {
        call.engine.tick(Duration::ZERO).await.unwrap();
        assert!(call.heard().await.is_empty(), "{}: {:?}", call.what, call.heard().await);
    }
}

/// Where leaving was decided, the same button is pressed.
async fn leaving_leaves(mut call: Call<'_>) {
    assert!(call.engine.last_look().meanings.contains(&Meaning::InCall), "{}: {:?}", call.what, call.engine.last_look());
    let page = call.looker.browser.page();
    page.evaluate("document.getElementById('leave').addEventListener('click', (event) => event.target.remove())").await.unwrap();
    assert!(call.engine.leave(LIMIT).await, "{}: {:?}", call.what, call.heard().await);
    assert!(call.heard().await.iter().any(|(what, _)| what == "leave:mouseup"), "{}", call.what);
}

const SHADOW: &[Case] = &[(
    "shadow",
    "<fluent-button data-tid='prejoin-join-button' style='display: block; position: fixed; left: 400px; top: 300px'></fluent-button><script>
        customElements.define('fluent-button', class extends HTMLElement {
          constructor() { super(); this.attachShadow({ mode: 'open' }).innerHTML = '<button style=\"width: 200px; height: 60px\">Join now</button>'; }
        });
        document.querySelector('fluent-button').addEventListener('click', () => { document.documentElement.dataset.trouble = 'made'; });
        </script>",
    &[],
)];

/// A button of the page's own make, which is drawn in its shadow.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_drawn_in_a_shadow_is_pressed() {
    let looker = Looker::start(Platform::Teams, SHADOW).await;
    Call::open(&looker, "shadow").await.play().await;
    looker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_press_lands_on_what_it_was_not_decided_for() {
    // Mostly waiting for the mouse: side by side.
    let platforms = [(Platform::Meet, MEET), (Platform::Teams, TEAMS), (Platform::Zoom, ZOOM)];
    for playing in platforms.map(|(platform, cases)| tokio::spawn(every_call(platform, cases))) {
        playing.await.unwrap();
    }
}
