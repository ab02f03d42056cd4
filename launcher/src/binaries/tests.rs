use super::*;

fn install(dir: &Path, programs: &[&str]) {
    fs::create_dir_all(dir).unwrap();
    for program in programs {
        fs::write(dir.join(program), "").unwrap();
    }
}

#[test]
fn the_highest_packaged_version_wins_by_number_and_not_by_letter() {
    let root = tempfile::tempdir().unwrap();
    for version in ["9.6", "15", "17", "latest"] {
        install(&root.path().join(version).join("bin"), &["initdb", "postgres"]);
    }

    let found = packaged(&[(root.path().to_str().unwrap(), "", "bin")]).unwrap();

    assert_eq!(found.dir(), root.path().join("17/bin"));
}

#[test]
fn a_folder_without_the_server_program_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    install(&root.path().join("pgsql-18/bin"), &["initdb"]);
    install(&root.path().join("pgsql-16/bin"), &["initdb", "postgres"]);

    let found = packaged(&[(root.path().to_str().unwrap(), "pgsql-", "bin")]).unwrap();

    assert_eq!(found.dir(), root.path().join("pgsql-16/bin"));
}

#[test]
fn a_client_program_that_is_not_beside_the_server_is_left_to_the_path() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), &["initdb", "postgres", "psql"]);

    let found = PostgresBinaries::at(root.path()).unwrap();

    assert_eq!(found.program("psql"), root.path().join("psql"));
    assert_eq!(found.program("pg_dump"), PathBuf::from("pg_dump"));
}

#[test]
fn the_error_for_no_binaries_names_every_way_to_get_a_database() {
    let text = LauncherError::NotFound.to_string();

    for way in [
        "apt-get install postgresql",
        "brew install postgresql@17",
        "docker run",
        "--database-url",
    ] {
        assert!(text.contains(way), "{way} is missing in: {text}");
    }
}
