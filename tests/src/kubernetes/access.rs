//! Who may do what: bearer tokens to users, users to rules, and the refusals as recorded.

use std::collections::HashMap;

use serde_json::Value;

use super::failure::{Failure, object_details};
use super::json_path::text;
use super::request::RequestInfo;
use super::resource::{Resource, qualified};

/// A permission: verbs on resources. `*` stands for all.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The namespace it holds in; `None` in all and at the cluster scope.
    pub namespace: Option<String>,
    /// The API group, "" for the core group.
    pub group: String,
    /// Plural names, a subresource as `pods/eviction`.
    pub resources: Vec<String>,
    /// Verbs in lower case.
    pub verbs: Vec<String>,
}

impl Rule {
    /// A rule in one namespace.
    pub fn new(namespace: &str, resource: Resource, verbs: &[&str]) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            group: resource.group().to_owned(),
            resources: vec![resource.plural().to_owned()],
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        }
    }

    /// A rule that allows everything.
    pub fn everything() -> Self {
        Self { namespace: None, group: "*".into(), resources: vec!["*".into()], verbs: vec!["*".into()] }
    }

    fn allows(&self, namespace: Option<&str>, group: &str, resource: &str, verb: &str) -> bool {
        let listed = |list: &[String], wanted: &str| list.iter().any(|name| name == "*" || name == wanted);
        self.namespace.as_deref().is_none_or(|only| Some(only) == namespace)
            && (self.group == "*" || self.group == group)
            && listed(&self.resources, resource)
            && listed(&self.verbs, verb)
    }
}

/// Tokens, users and their rules. Without any user everybody may do everything.
#[derive(Debug, Clone, Default)]
pub struct Access {
    users: HashMap<String, (String, Vec<Rule>)>,
}

impl Access {
    /// Adds a user: from now on, requests without a token are `system:anonymous` and unknown tokens are refused.
    pub fn add_user(&mut self, token: &str, user: &str, rules: Vec<Rule>) {
        self.users.insert(token.to_owned(), (user.to_owned(), rules));
    }

    /// The user behind an `Authorization` header.
    pub(crate) fn authenticate(&self, authorization: Option<&str>) -> Result<String, Failure> {
        if self.users.is_empty() {
            return Ok("system:admin".to_owned());
        }
        let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Ok("system:anonymous".to_owned());
        };
        let user = self.users.get(token).map(|(user, _)| user.clone());
        user.ok_or_else(|| Failure::new(401, "Unauthorized", "Unauthorized"))
    }

    fn may(&self, user: &str, namespace: Option<&str>, group: &str, resource: &str, verb: &str) -> bool {
        let rules = self.users.values().filter(|(name, _)| name == user).flat_map(|(_, rules)| rules);
        self.users.is_empty() || rules.into_iter().any(|rule| rule.allows(namespace, group, resource, verb))
    }

    /// Refuses what no rule of the user allows.
    pub(crate) fn authorize(&self, user: &str, request: &RequestInfo) -> Result<(), Failure> {
        let resource = with_subresource(&request.plural, &request.subresource);
        let namespace = request.namespace.as_deref();
        if self.may(user, namespace, &request.group, &resource, request.verb.name()) {
            return Ok(());
        }
        Err(forbidden(user, request))
    }

    /// The answer to a `SelfSubjectAccessReview`.
    pub(crate) fn review(&self, user: &str, review: &Value) -> Value {
        let asked = |field: &str| text(review, &format!("/spec/resourceAttributes/{field}"));
        let namespace = Some(asked("namespace")).filter(|name| !name.is_empty());
        let resource = with_subresource(asked("resource"), asked("subresource"));
        let allowed = self.may(user, namespace, asked("group"), &resource, asked("verb"));
        let mut answer = serde_json::json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
            "spec": review["spec"], "status": {"allowed": allowed},
        });
        if let ["system", "serviceaccount", namespace, name] = user.split(':').collect::<Vec<_>>().as_slice()
            && allowed
        {
            let account = format!("{name}/{namespace}");
            answer["status"]["reason"] =
                format!("RBAC: allowed by RoleBinding \"{account}\" of Role \"{name}\" to ServiceAccount \"{account}\"").into();
        }
        answer
    }
}

fn with_subresource(plural: &str, subresource: &str) -> String {
    if subresource.is_empty() { plural.to_owned() } else { format!("{plural}/{subresource}") }
}

/// The 403 of RBAC.
pub(crate) fn forbidden(user: &str, request: &RequestInfo) -> Failure {
    let scope = match &request.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let name = if request.name.is_empty() { String::new() } else { format!(" \"{}\"", request.name) };
    let message = format!(
        "{}{name} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {scope}",
        qualified(&request.plural, &request.group),
        request.verb.name(),
        with_subresource(&request.plural, &request.subresource),
        request.group,
    );
    Failure::new(403, "Forbidden", message).with_details(object_details(&request.name, &request.group, &request.plural))
}
