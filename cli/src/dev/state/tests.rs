use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_token_is_made_once_and_for_us_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::open(&folder.path().join("state")).unwrap();
    let token = state.token().unwrap();
    assert_eq!(state.token().unwrap(), token);
    assert_eq!(token.len(), 32);
    let mode = fs::metadata(state.path().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_folder_is_held_by_one_and_free_when_that_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = StateFolder::open(folder.path()).unwrap();
    first
        .write_url("postgres://longhaul:secret@127.0.0.1:12345/longhaul")
        .unwrap();
    assert!(running(folder.path()).unwrap().ends_with(":12345/longhaul"));
    let refused = StateFolder::open(folder.path()).unwrap_err();
    assert_eq!(refused.code, "state_folder_in_use");
    assert!(
        refused.message.contains(&std::process::id().to_string()),
        "{}",
        refused.message
    );
    drop(first);
    assert_eq!(running(folder.path()), None);
    let again = StateFolder::open(folder.path()).unwrap();
    assert_eq!(again.last_port(), Some(12345));
}

#[test]
fn a_server_that_stopped_is_not_offered_and_its_port_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::open(folder.path()).unwrap();
    state
        .write_url("postgres://longhaul:secret@127.0.0.1:12345/longhaul")
        .unwrap();
    state.forget_url();
    assert_eq!(running(folder.path()), None);
    assert_eq!(state.last_port(), Some(12345));
}

#[test]
fn data_that_is_gone_is_not_data_that_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::open(folder.path()).unwrap();
    assert_eq!(state.data(), Data::New);
    fs::create_dir_all(folder.path().join("postgres/data")).unwrap();
    state.write_url("postgres://me@127.0.0.1:1/db").unwrap();
    assert_eq!(state.data(), Data::There);
    fs::remove_dir_all(folder.path().join("postgres")).unwrap();
    assert_eq!(state.data(), Data::Gone);
    state.forget_url();
    assert_eq!(state.data(), Data::Gone);
}
