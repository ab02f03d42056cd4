use super::*;
use std::path::Path;

#[test]
fn every_statement_of_the_product_is_known_for_what_it_is() {
    let expected = |file: &str| match file {
        "claim_runs.sql" => Statement::Claim,
        "record.sql" | "record_fresh.sql" => Statement::Record,
        "release_run.sql" => Statement::Release,
        "extend_lease.sql" => Statement::Extend,
        "lock_abandoned_runs.sql" => Statement::LockAbandoned,
        "reclaim_runs.sql" => Statement::Reclaim,
        _ => Statement::Other,
    };
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/src");
    let mut found = Vec::new();
    for folder in ["transition", "query"] {
        for entry in std::fs::read_dir(engine.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let file = path.file_name().unwrap().to_string_lossy().into_owned();
                let statement = Statement::of(&std::fs::read(&path).unwrap());
                assert_eq!(statement, expected(&file), "{file}");
                found.push(statement);
            }
        }
    }
    for (mark, statement) in MARKS {
        assert!(found.contains(&statement), "no file of the engine holds {mark}");
    }
}

#[test]
fn what_a_record_does_besides_stands_in_its_parameters() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/src/transition");
    let said: String = ["park_run.rs", "finish_run.rs"]
        .map(|file| std::fs::read_to_string(engine.join(file)).unwrap())
        .concat();
    for (mark, statement) in PARAMETERS {
        assert!(said.contains(std::str::from_utf8(mark).unwrap()), "{mark:?}");
        let parameters = [b"{step.succeeded,", mark, b"}"].concat();
        assert_eq!(Statement::within(&parameters).collect::<Vec<_>>(), [statement]);
    }
    assert_eq!(Statement::within(b"{step.succeeded}").count(), 0);
}
