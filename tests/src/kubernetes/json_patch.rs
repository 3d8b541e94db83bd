//! RFC 6902.

use serde_json::Value;

/// Applies all operations, or fails at the first that does not fit.
pub(crate) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), ()> {
    for operation in patch.as_array().ok_or(())? {
        let path = operation["path"].as_str().ok_or(())?;
        let from = operation["from"].as_str().unwrap_or_default();
        match operation["op"].as_str().unwrap_or_default() {
            "add" => add(target, path, operation["value"].clone())?,
            "remove" => drop(take(target, path)?),
            "replace" => *target.pointer_mut(path).ok_or(())? = operation["value"].clone(),
            "test" if target.pointer(path) == operation.get("value") => {}
            "move" => {
                let moved = take(target, from)?;
                add(target, path, moved)?;
            }
            "copy" => {
                let copied = target.pointer(from).ok_or(())?.clone();
                add(target, path, copied)?;
            }
            _ => return Err(()),
        }
    }
    Ok(())
}

fn split(path: &str) -> Result<(&str, String), ()> {
    let (parent, last) = path.rsplit_once('/').ok_or(())?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), ()> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent).ok_or(())? {
        Value::Object(fields) => drop(fields.insert(last, value)),
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let index: usize = last.parse().map_err(|_| ())?;
            if index > items.len() {
                return Err(());
            }
            items.insert(index, value);
        }
        _ => return Err(()),
    }
    Ok(())
}

fn take(target: &mut Value, path: &str) -> Result<Value, ()> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent).ok_or(())? {
        Value::Object(fields) => fields.remove(&last).ok_or(()),
        Value::Array(items) => {
            let index: usize = last.parse().map_err(|_| ())?;
            if index < items.len() { Ok(items.remove(index)) } else { Err(()) }
        }
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_follow_the_standard() {
        let mut value = json!({"a": {"b/c": 1}, "list": [1, 3]});
        let patch = json!([
            {"op": "test", "path": "/a/b~1c", "value": 1},
            {"op": "add", "path": "/list/1", "value": 2},
            {"op": "add", "path": "/list/-", "value": 4},
            {"op": "move", "from": "/a/b~1c", "path": "/moved"},
            {"op": "remove", "path": "/list/0"},
            {"op": "copy", "from": "/moved", "path": "/a/copy"},
        ]);
        json_patch(&mut value, &patch).unwrap();
        assert_eq!(value, json!({"a": {"copy": 1}, "list": [2, 3, 4], "moved": 1}));
        assert!(json_patch(&mut value, &json!([{"op": "test", "path": "/moved", "value": 2}])).is_err());
        assert!(json_patch(&mut value, &json!([{"op": "replace", "path": "/missing", "value": 2}])).is_err());
    }
}
