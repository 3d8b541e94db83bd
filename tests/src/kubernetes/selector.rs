//! Label and field selectors.

use serde_json::Value;

use super::failure::Failure;
use super::json_path::text;
use super::resource::Resource;

/// What a list or a watch picks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// The fields each resource can be picked by.
const COMMON_FIELDS: [&str; 2] = ["metadata.name", "metadata.namespace"];
const POD_FIELDS: [&str; 5] = ["spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"];
const EVENT_FIELDS: [&str; 6] =
    ["involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "involvedObject.uid", "reason", "type"];

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(resource: Resource, labels: &str, fields: &str) -> Result<Self, Failure> {
        let labels = split_requirements(labels).into_iter().map(|part| requirement(&part)).collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| field(resource, part.trim()))
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether everything is picked.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|value| values.iter().all(|unwanted| unwanted != value)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        });
        labels
            && self.fields.iter().all(|(path, equal, value)| {
                let found = text(object, &format!("/{}", path.replace('.', "/")));
                (found == value) == *equal
            })
    }
}

/// Splits at commas that are not inside parentheses.
fn split_requirements(selector: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for letter in selector.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(letter);
        }
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn requirement(part: &str) -> Result<Requirement, Failure> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(key.trim().to_owned()));
    }
    for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = part.split_once(operator) {
            let (key, values) = (key.trim().to_owned(), vec![value.trim().to_owned()]);
            return Ok(if negative { Requirement::NotIn(key, values) } else { Requirement::In(key, values) });
        }
    }
    let mut words = part.splitn(2, char::is_whitespace);
    let key = words.next().unwrap_or_default().to_owned();
    let Some(rest) = words.next().map(str::trim) else { return Ok(Requirement::Exists(key)) };
    let word = rest.split(|letter: char| letter.is_whitespace() || letter == '(').next().unwrap_or_default();
    let values = || {
        let inside = rest.split_once('(').and_then(|(_, tail)| tail.strip_suffix(')')).unwrap_or_default();
        inside.split(',').map(|value| value.trim().to_owned()).collect()
    };
    match word {
        "in" => Ok(Requirement::In(key, values())),
        "notin" => Ok(Requirement::NotIn(key, values())),
        _ => Err(Failure::bad_request(format!(
            "unable to parse requirement: found '{word}', expected: in, notin, =, ==, !=, gt, lt"
        ))),
    }
}

fn field(resource: Resource, part: &str) -> Result<(String, bool, String), Failure> {
    let (path, equal, value) = match part.split_once("!=") {
        Some((path, value)) => (path, false, value),
        None => match part.split_once("==").or_else(|| part.split_once('=')) {
            Some((path, value)) => (path, true, value),
            None => {
                return Err(Failure::bad_request(format!("invalid field selector: \"{part}\"; can't understand '{part}'")));
            }
        },
    };
    let own: &[&str] = match resource {
        Resource::Pods => &POD_FIELDS,
        Resource::Events => &EVENT_FIELDS,
        Resource::Jobs => &["status.successful"],
        Resource::Nodes => &["spec.unschedulable"],
        Resource::PodDisruptionBudgets => &[],
    };
    if !COMMON_FIELDS.contains(&path) && !own.contains(&path) {
        return Err(Failure::bad_request(format!("field label \"{path}\" not supported for {}", resource.kind())));
    }
    Ok((path.to_owned(), equal, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn set_based_requirements_pick_by_value_and_by_presence() {
        let object = json!({"metadata": {"name": "a", "labels": {"tier": "bot", "x": "1"}}});
        let picks = |labels: &str| Selector::parse(Resource::Jobs, labels, "").unwrap().matches(&object);
        for selector in ["tier in (bot, other)", "tier=bot,x==1", "tier notin (web)", "x", "!y", "y!=1", ""] {
            assert!(picks(selector), "{selector}");
        }
        for selector in ["tier in (web)", "tier=bot,x=2", "tier notin (bot)", "y", "!x", "x!=1"] {
            assert!(!picks(selector), "{selector}");
        }
    }
}
