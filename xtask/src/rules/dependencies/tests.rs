use super::*;
use crate::workspace::Dependency;

fn package(name: &str, dependencies: &[&str]) -> Metadata {
    let dependencies = dependencies
        .iter()
        .map(|name| Dependency {
            name: (*name).to_owned(),
            optional: false,
        })
        .collect();
    Metadata {
        packages: vec![Package {
            name: name.to_owned(),
            dependencies,
        }],
    }
}

fn complaint(name: &str, dependency: &str) -> Option<String> {
    check_edges(&package(name, &[dependency]))
        .pop()
        .map(|finding| finding.what)
}

#[test]
fn each_forbidden_edge_is_found() {
    let forbidden = [
        (ENGINE, AGENT),
        (AGENT, ENGINE),
        (AGENT, "tokio"),
        (API, WORKER),
        (WORKER, API),
        (LAUNCHER, ENGINE),
        (REHEARSAL, AGENT),
        (CLI, TESTS),
        (XTASK, ENGINE),
        (WORKER, "sqlx"),
        (CLI, "sqlx-core"),
        (WORKER, "axum"),
        (CLI, "axum-extra"),
        (ENGINE, "reqwest"),
        (API, "reqwest"),
        (WORKER, "backoff"),
        (ENGINE, "testcontainers"),
    ];
    for (package, dependency) in forbidden {
        assert_eq!(
            complaint(package, dependency),
            Some(format!("{package} must not depend on {dependency}"))
        );
    }
}

#[test]
fn the_edges_of_the_house_are_allowed() {
    let allowed = [
        (WORKER, ENGINE),
        (API, AGENT),
        (CLI, WORKER),
        (XTASK, LAUNCHER),
        (TESTS, CLI),
        (ENGINE, "sqlx"),
        (ENGINE, "backoff"),
        (REHEARSAL, "axum"),
        (CLI, "reqwest"),
        (TESTS, "testcontainers"),
        (WORKER, "tokio"),
    ];
    for (package, dependency) in allowed {
        assert_eq!(complaint(package, dependency), None);
    }
}

#[test]
fn an_optional_client_is_allowed_in_the_api_only() {
    let optional = |name: &str| {
        let mut metadata = package(name, &["reqwest"]);
        metadata.packages[0].dependencies[0].optional = true;
        check_edges(&metadata).len()
    };

    assert_eq!((optional(API), optional(ENGINE)), (0, 1));
}

#[test]
fn a_package_without_a_rule_is_found() {
    let findings = check_edges(&package("longhaul-mcp", &[]));

    assert_eq!(findings[0].place, "longhaul-mcp");
}

#[test]
fn the_metadata_of_cargo_is_understood() {
    let json = r#"{"packages": [{"name": "longhaul-agent", "version": "1.0.0",
        "dependencies": [{"name": "tokio", "kind": null, "optional": false, "rename": null}]}]}"#;

    let metadata: Metadata = serde_json::from_str(json).unwrap();

    assert_eq!(check_edges(&metadata).len(), 1);
}

#[test]
fn backoff_outside_of_its_file_is_found() {
    let at = |path: &str, text: &str| {
        let file = SourceFile {
            path: path.into(),
            text: text.to_owned(),
        };
        check_backoff(&[file]).len()
    };

    assert_eq!(at("worker/src/drive.rs", "use backoff::ExponentialBackoff;"), 1);
    assert_eq!(at("engine/src/waker.rs", "let delay = backoff::default();"), 1);
    assert_eq!(at("engine/src/retry.rs", "use backoff::ExponentialBackoff;"), 0);
    assert_eq!(at("engine/src/retry/tests.rs", "use backoff::backoff::Backoff;"), 0);
    assert_eq!(at("worker/src/drive.rs", "// as backoff::ExponentialBackoff does"), 0);
    assert_eq!(at("worker/src/drive.rs", "engine::retry::backoff::next()"), 0);
}
