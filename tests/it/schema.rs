//! Migrating, and refusing to work on a schema that this program does not know.

use engine::{Connect, Engine, EngineError};
use futures_util::future::join_all;
use longhaul_tests::database::TestDatabase;

async fn engine_on(database: &TestDatabase) -> Engine {
    Engine::connect(&Connect::new(&database.url, "test"))
        .await
        .expect("the engine connects")
}

/// What the check says against the schema.
async fn complaint(database: &TestDatabase) -> String {
    match engine_on(database).await.check_schema().await {
        Err(error @ EngineError::Schema(_)) => {
            assert_eq!(error.code(), "unknown_schema");
            error.to_string()
        }
        other => panic!("no complaint: {other:?}"),
    }
}

async fn execute(database: &TestDatabase, statement: &'static str) {
    let mut connection = database.connect().await;
    let done = sqlx::query(statement)
        .execute(&mut connection)
        .await
        .expect("the statement runs");
    assert_eq!(done.rows_affected(), 1, "{statement}");
}

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    let database = TestDatabase::empty().await;

    let first = engine::schema::migrate(&database.url).await.unwrap();
    let second = engine::schema::migrate(&database.url).await.unwrap();

    assert!(first >= 4, "{first} migrations were applied");
    assert_eq!(second, 0);
    engine_on(&database).await.check_schema().await.unwrap();
}

#[tokio::test]
async fn many_who_migrate_at_the_same_time_migrate_once() {
    let database = TestDatabase::empty().await;

    let applied = join_all((0..6).map(|_| engine::schema::migrate(&database.url))).await;

    for applied in applied {
        applied.unwrap();
    }
    engine_on(&database).await.check_schema().await.unwrap();
    let mut connection = database.connect().await;
    let (all, different): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct version) from longhaul.migration where success")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(all, different);
}

#[tokio::test]
async fn an_empty_database_is_refused_and_the_command_is_named() {
    let database = TestDatabase::empty().await;

    let said = complaint(&database).await;

    assert!(said.contains("has no Longhaul schema"), "{said}");
    assert!(said.contains("run: longhaul migrate"), "{said}");
}

#[tokio::test]
async fn an_older_schema_is_refused_and_the_command_is_named() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "delete from longhaul.migration where version = (select max(version) from longhaul.migration)",
    )
    .await;

    let said = complaint(&database).await;

    assert!(said.contains("older than this program"), "{said}");
    assert!(said.contains("run: longhaul migrate"), "{said}");
}

#[tokio::test]
async fn a_changed_migration_is_refused_and_so_is_migrating_on_it() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        r"update longhaul.migration set checksum = '\x00' where version = 1",
    )
    .await;

    let said = complaint(&database).await;
    assert!(said.contains("migration 1"), "{said}");
    assert!(said.contains("use the release that made it"), "{said}");

    let refused = engine::schema::migrate(&database.url).await.unwrap_err();
    assert_eq!(refused.code(), "unknown_schema", "{refused}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_so_is_migrating_on_it() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        r"insert into longhaul.migration (version, description, success, checksum, execution_time)
          values (9999, 'from the future', true, '\x00', 1)",
    )
    .await;

    let said = complaint(&database).await;
    assert!(said.contains("newer than this program"), "{said}");
    assert!(said.contains("install the release"), "{said}");

    let refused = engine::schema::migrate(&database.url).await.unwrap_err();
    assert_eq!(refused.code(), "unknown_schema", "{refused}");
}

#[tokio::test]
async fn an_address_that_is_none_and_a_server_that_is_not_there_are_told_apart() {
    let connect = async |url: &str| {
        let connect = Connect::new(url, "test");
        Engine::connect(&connect).await.expect_err("nobody is there")
    };

    let wrong = connect("mysql://nowhere").await;
    let away = connect("postgres://longhaul@127.0.0.1:1/longhaul").await;

    assert_eq!((wrong.code(), wrong.is_transient()), ("invalid_database_url", false));
    assert_eq!((away.code(), away.is_transient()), ("database_unavailable", true));
}
