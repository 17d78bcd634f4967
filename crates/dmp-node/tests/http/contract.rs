//! `docs/openapi.yaml` against the router: the same paths and methods, and every answer that any test of this suite sees
//! is declared there with its media type.

use crate::support::{Answer, TestNode, multi_tenant};
use dmp_node::http::ROUTES;
use serde_json::Value;
use std::path::Path;
use std::sync::OnceLock;

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "DELETE"];

/// The file, with its merge keys and references to responses resolved.
fn contract() -> &'static Value {
    static CONTRACT: OnceLock<Value> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let mut yaml: yaml_serde::Value = yaml_serde::from_str(&text).unwrap();
        yaml.apply_merge().unwrap();
        let mut json = serde_json::to_value(yaml).unwrap();
        let whole = json.clone();
        resolve(&mut json["paths"], &whole);
        json
    })
}

/// Replaces what refers to another place of the file by what stands there.
fn resolve(value: &mut Value, whole: &Value) {
    if let Some(place) = value.get("$ref").and_then(Value::as_str) {
        let place = place.strip_prefix('#').unwrap();
        let target = whole.pointer(place);
        *value = target
            .unwrap_or_else(|| panic!("{place} leads nowhere"))
            .clone();
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| resolve(value, whole)),
        Value::Array(items) => items.iter_mut().for_each(|value| resolve(value, whole)),
        _ => {}
    }
}

fn declared_methods(path: &str) -> Vec<&'static str> {
    let item = &contract()["paths"][path];
    let has = |method: &&str| item.get(method.to_ascii_lowercase()).is_some();
    METHODS.into_iter().filter(has).collect()
}

/// The path of the file that a request target belongs to.
fn path_of(target: &str) -> Option<&'static str> {
    let plain = target.split('?').next().unwrap();
    let route = ROUTES.iter().find(|route| {
        let (front, back) = route.path.split_once("{name}").unwrap_or((route.path, ""));
        let name = plain
            .strip_prefix(front)
            .and_then(|rest| rest.strip_suffix(back));
        match name {
            Some("") => !route.path.contains('{'),
            Some(name) => route.path.contains('{') && !name.trim_end_matches('/').contains('/'),
            None => false,
        }
    });
    route.map(|route| route.path)
}

/// Asserts that the answer to a request is one that the file declares.
#[track_caller]
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    if answer.status == 431 {
        return; // before there is a request
    }
    let Some(path) = path_of(target) else {
        assert_eq!(answer.status, 404, "{method} {target}");
        return;
    };
    let operation = &contract()["paths"][path][method.to_ascii_lowercase()];
    if operation.is_null() {
        assert!([404, 405].contains(&answer.status), "{method} {target}");
        return;
    }
    // A target with a query is another path to most routes.
    if target.contains('?') && answer.status == 404 {
        return;
    }
    let response = &operation["responses"][answer.status.to_string()];
    let status = answer.status;
    assert!(
        !response.is_null(),
        "{method} {path}: {status} is not declared"
    );
    let Some(media) = answer.headers.get("content-type") else {
        assert!(answer.body.is_empty(), "{method} {target}");
        return;
    };
    let media = media.split(';').next().unwrap();
    let content = &response["content"][media];
    assert!(
        !content.is_null(),
        "{method} {path} {status}: {media} is not declared"
    );
    if method != "HEAD" && media.ends_with("json") {
        check_members(
            &answer.json(),
            &content["schema"],
            &format!("{method} {path} {status}"),
        );
    }
}

/// Required members are there, and no member is there that the schema does not name.
#[track_caller]
fn check_members(body: &Value, schema: &Value, place: &str) {
    let declared = schema["properties"].as_object().unwrap();
    let body = body.as_object().unwrap();
    for member in schema["required"].as_array().unwrap() {
        assert!(
            body.contains_key(member.as_str().unwrap()),
            "{place}: {member} is missing"
        );
    }
    for member in body.keys() {
        assert!(
            declared.contains_key(member),
            "{place}: {member} is not declared"
        );
    }
}

#[test]
fn the_file_has_the_paths_and_methods_of_the_router_and_no_others() {
    let declared: Vec<&str> = contract()["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut routed: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    routed.sort_unstable();
    assert_eq!(declared, routed);
    for route in &ROUTES {
        assert_eq!(
            declared_methods(route.path).join(", "),
            route.methods,
            "{}",
            route.path
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_node_has_every_declared_method_and_no_other() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    for route in &ROUTES {
        let target = route.path.replace("{name}", "a.mesh.test");
        let answer = node.request("BREW", &target, "", "").await;
        assert_eq!(
            (answer.status, answer.headers["allow"].as_str()),
            (405, route.methods)
        );
        for method in METHODS {
            let answer = node.request(method, &target, "", "").await;
            let is_declared = declared_methods(route.path).contains(&method);
            assert_eq!(answer.status != 405, is_declared, "{method} {target}");
        }
    }
}

#[test]
fn every_operation_says_what_it_is_and_declares_errors_as_problems() {
    for (path, item) in contract()["paths"].as_object().unwrap() {
        for method in METHODS.map(str::to_ascii_lowercase) {
            let Some(operation) = item.get(&method) else {
                continue;
            };
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(operation["tags"].is_array(), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].is_string(),
                    "{method} {path} {status}"
                );
                let problem = &response["content"]["application/problem+json"];
                let plain = &response["content"]["application/json"];
                assert!(
                    problem.is_null() || problem == plain,
                    "{method} {path} {status}"
                );
            }
        }
    }
}
