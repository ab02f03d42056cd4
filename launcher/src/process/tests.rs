use super::*;

#[test]
fn a_process_name_with_spaces_and_brackets_does_not_confuse_the_table() {
    let process = parse_stat("41 (a) b (c) S 7 41 41 0 -1").unwrap();

    assert_eq!(
        process,
        Process {
            pid: 41,
            parent: 7,
            state: 'S'
        }
    );
}

#[test]
fn the_listing_of_ps_is_read_where_there_is_no_proc() {
    assert_eq!(
        parse_ps("   12     1 Ss+"),
        Some(Process {
            pid: 12,
            parent: 1,
            state: 'S'
        })
    );
    assert_eq!(parse_ps("no numbers here"), None);
}

#[test]
fn this_test_is_in_the_process_table() {
    let us = std::process::id();

    assert!(
        processes()
            .iter()
            .any(|process| process.pid == us && process.is_alive())
    );
}

#[test]
fn waiting_ends_at_its_limit() {
    assert!(!wait_until(Duration::from_millis(20), || false));
}
