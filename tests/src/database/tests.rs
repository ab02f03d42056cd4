use super::*;
use server::{Way, no_postgres, ways};

async fn count_databases(url: &str, name: &str) -> i64 {
    let mut connection = connect(url).await;
    sqlx::query_scalar("select count(*) from pg_database where datname = $1")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn each_test_has_an_own_database_that_goes_away() {
    let (one, other) = tokio::join!(TestDatabase::new(), TestDatabase::new());
    let server = Arc::clone(&one.server);
    let mut connection = one.connect().await;
    run(&mut connection, "create table only_here (id int)".to_owned()).await;
    let seen: Option<String> = sqlx::query_scalar("select to_regclass('only_here')::text")
        .fetch_one(&other.pool().await)
        .await
        .unwrap();
    assert_eq!(seen, None);

    // Somebody is still connected: that must not keep the database alive.
    let name = one.name.clone().unwrap();
    drop(one);

    assert_eq!(count_databases(server.maintenance_url(), &name).await, 0);
    assert_eq!(
        count_databases(server.maintenance_url(), other.name.as_deref().unwrap()).await,
        1
    );
}

#[tokio::test]
async fn a_new_database_has_the_schema_and_an_empty_one_has_not() {
    let (migrated, empty) = tokio::join!(TestDatabase::new(), TestDatabase::empty());
    let mut found = Vec::new();
    for database in [&migrated, &empty] {
        let mut connection = database.connect().await;
        let exists: bool = sqlx::query_scalar("select to_regnamespace('longhaul') is not null")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        found.push(exists);
    }

    assert_eq!(found, [true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_make_one_template_and_clone_it_in_parallel() {
    let name = Uuid::new_v4().simple().to_string();
    let makers = (0..8).map(|_| {
        let name = name.clone();
        async move {
            TestDatabase::from_template(&name, |url| async move {
                let mut connection = connect(&url).await;
                run(
                    &mut connection,
                    "create table made (at timestamptz default now())".to_owned(),
                )
                .await;
                run(&mut connection, "insert into made default values".to_owned()).await;
                connection.close().await.unwrap();
            })
            .await
        }
    });

    let databases = futures_util::future::join_all(makers).await;

    for database in &databases {
        let mut connection = database.connect().await;
        let made: i64 = sqlx::query_scalar("select count(*) from made")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(made, 1);
    }
    let template = template::name_for(&name, &migrations());
    drop_database(databases[0].server.maintenance_url(), &template)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_private_server_survives_kill_9_with_what_was_committed() {
    if launcher::PostgresBinaries::find().is_err() {
        return;
    }
    let server = PrivateServer::start().await;
    let mut connection = connect(server.url()).await;
    run(&mut connection, "create table committed as select 1 as id".to_owned()).await;

    server.kill_9().await;
    assert!(sqlx::query("select 1").execute(&mut connection).await.is_err());
    server.restart().await;

    let mut connection = connect(server.url()).await;
    let id: i32 = sqlx::query_scalar("select id from committed")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(id, 1);
}

#[test]
fn a_way_can_be_forced() {
    assert_eq!(ways(None), [Way::Url, Way::Binaries, Way::Container]);
    assert_eq!(ways(Some("container")), [Way::Container]);
}

#[test]
fn the_error_without_postgres_names_every_way_to_get_one() {
    let text = no_postgres(&["  Binaries: none".to_owned()]);

    for way in [
        "LONGHAUL_TEST_DATABASE_URL",
        "apt-get install postgresql",
        "Docker",
        "Binaries: none",
    ] {
        assert!(text.contains(way), "{way} is missing in: {text}");
    }
}
