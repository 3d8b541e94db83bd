//! One tab: navigation, evaluation in a world of our own, and real input.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::pipe::{CdpError, CdpPipe};

/// A face is known, a slide can be read, and it takes some 50 KiB.
const GLANCE_QUALITY: u32 = 50;
const QUICK: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(30);

/// A place in the page, in CSS pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

/// One attached tab; cheap to clone.
#[derive(Debug, Clone)]
pub struct Page {
    cdp: CdpPipe,
    session: String,
    frame: String,
    world: Arc<Mutex<Option<i64>>>,
    mouse: Arc<Mutex<Point>>,
}

impl Page {
    pub(super) fn new(cdp: CdpPipe, session: String, frame: String) -> Self {
        let mouse = Arc::new(Mutex::new(Point { x: 640.0, y: 360.0 }));
        Self { cdp, session, frame, world: Arc::default(), mouse }
    }

    pub(super) async fn call(&self, method: &'static str, params: Value, limit: Duration) -> Result<Value, CdpError> {
        self.cdp.call(Some(&self.session), method, params, limit).await
    }

    /// Opens `url`; returns once the browser has committed to it, not once it has loaded.
    pub async fn navigate(&self, url: &str) -> Result<(), CdpError> {
        let answer = self.call("Page.navigate", json!({ "url": url }), SLOW).await?;
        *self.world.lock().await = None;
        match answer.get("errorText").and_then(Value::as_str) {
            Some(error) => Err(CdpError::Refused { method: "Page.navigate", message: error.to_owned() }),
            None => Ok(()),
        }
    }

    /// The value of `expression` in an isolated world: the page's scripts can neither see nor change it.
    pub async fn evaluate(&self, expression: &str) -> Result<Value, CdpError> {
        let first = self.evaluate_once(expression).await;
        match first {
            // The world went with a navigation; the next page gets its own.
            Err(CdpError::Refused { message, .. }) if message.contains("context") => {
                *self.world.lock().await = None;
                self.evaluate_once(expression).await
            }
            other => other,
        }
    }

    async fn evaluate_once(&self, expression: &str) -> Result<Value, CdpError> {
        let world = self.world().await?;
        let params = json!({ "expression": expression, "contextId": world, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", params, QUICK).await?;
        if let Some(exception) = answer.get("exceptionDetails") {
            let text = exception.pointer("/exception/description").and_then(Value::as_str).unwrap_or("exception");
            return Err(CdpError::Refused { method: "Runtime.evaluate", message: text.chars().take(300).collect() });
        }
        Ok(answer.pointer_mut("/result/value").map(Value::take).unwrap_or_default())
    }

    async fn world(&self) -> Result<i64, CdpError> {
        let mut known = self.world.lock().await;
        if let Some(id) = *known {
            return Ok(id);
        }
        let method = "Page.createIsolatedWorld";
        let answer = self.call(method, json!({ "frameId": self.frame, "worldName": "recorder" }), QUICK).await?;
        let id = answer["executionContextId"].as_i64().ok_or(CdpError::Incomplete { method, what: "executionContextId" })?;
        *known = Some(id);
        Ok(id)
    }

    /// Moves the mouse there in a few steps and clicks, whatever lies there by then.
    pub async fn click(&self, at: Point) -> Result<(), CdpError> {
        self.move_mouse(at).await?;
        self.press_button(at).await
    }

    /// Presses the mouse's button where the mouse is.
    pub(crate) async fn press_button(&self, at: Point) -> Result<(), CdpError> {
        self.mouse_event("mousePressed", at, 1).await?;
        sleep(Duration::from_millis(40)).await;
        self.mouse_event("mouseReleased", at, 0).await
    }

    /// In a few steps, as a hand does.
    pub(crate) async fn move_mouse(&self, to: Point) -> Result<(), CdpError> {
        const STEPS: u32 = 6;
        let mut mouse = self.mouse.lock().await;
        let from = *mouse;
        for step in 1..=STEPS {
            let share = f64::from(step) / f64::from(STEPS);
            let at = Point { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
            self.mouse_event("mouseMoved", at, 0).await?;
            sleep(Duration::from_millis(12)).await;
        }
        *mouse = to;
        Ok(())
    }

    async fn mouse_event(&self, kind: &str, at: Point, buttons: u32) -> Result<(), CdpError> {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let params = json!({ "type": kind, "x": at.x, "y": at.y, "button": button, "buttons": buttons, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", params, QUICK).await.map(drop)
    }

    /// Replaces the content of the field that has the focus.
    pub(crate) async fn type_over(&self, text: &str) -> Result<(), CdpError> {
        let mut select = key("keyDown", "a", "KeyA", 65);
        select["modifiers"] = json!(2);
        select["commands"] = json!(["selectAll"]);
        self.call("Input.dispatchKeyEvent", select, QUICK).await?;
        self.call("Input.dispatchKeyEvent", key("keyUp", "a", "KeyA", 65), QUICK).await?;
        self.call("Input.insertText", json!({ "text": text }), QUICK).await.map(drop)
    }

    /// Presses Enter.
    pub(crate) async fn press_enter(&self) -> Result<(), CdpError> {
        let mut down = key("keyDown", "Enter", "Enter", 13);
        down["text"] = json!("\r");
        self.call("Input.dispatchKeyEvent", down, QUICK).await?;
        self.call("Input.dispatchKeyEvent", key("keyUp", "Enter", "Enter", 13), QUICK).await.map(drop)
    }

    /// A PNG of what the tab shows.
    pub async fn screenshot(&self) -> Result<Vec<u8>, CdpError> {
        self.picture(json!({ "format": "png" })).await
    }

    /// A small JPEG of what the tab shows, for somebody who follows the call.
    pub async fn glance(&self) -> Result<Vec<u8>, CdpError> {
        self.picture(json!({ "format": "jpeg", "quality": GLANCE_QUALITY, "optimizeForSpeed": true })).await
    }

    async fn picture(&self, params: Value) -> Result<Vec<u8>, CdpError> {
        let method = "Page.captureScreenshot";
        let answer = self.call(method, params, QUICK).await?;
        let data = answer["data"].as_str().ok_or(CdpError::Incomplete { method, what: "data" })?;
        BASE64.decode(data.as_bytes()).map_err(|_| CdpError::Incomplete { method, what: "valid data" })
    }
}

fn key(kind: &str, key: &str, code: &str, number: u32) -> Value {
    json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number, "nativeVirtualKeyCode": number })
}
