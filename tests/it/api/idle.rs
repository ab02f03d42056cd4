//! A door that nobody uses asks nothing of the database.

use super::{start, world};
use longhaul_tests::http_door::APPLICATION;
use longhaul_tests::world::{PATIENCE, World};
use std::time::Duration;

/// Each connection of the door, and when it last did something.
async fn activity(world: &World) -> Vec<(i32, String)> {
    let pool = world.database.pool().await;
    sqlx::query_as(
        "select pid, concat(state, ' since ', state_change) from pg_stat_activity
         where datname = current_database() and application_name = $1 order by pid",
    )
    .bind(APPLICATION)
    .fetch_all(&pool)
    .await
    .expect("the activity is read")
}

#[tokio::test]
async fn an_idle_door_makes_no_statement() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let mut reader = door.follow(run, None).await;
    assert_eq!(reader.next().await.expect("an event").kind, "run.started");
    let followed = activity(&world).await;
    // While somebody follows, the safety net looks each second.
    let looked = async {
        while activity(&world).await == followed {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it looks");
    drop(reader);

    // Nothing to wait for: time has to pass for nothing to happen in it, twice what the safety net would take.
    let quiet = async {
        loop {
            let before = activity(&world).await;
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            if activity(&world).await == before {
                return before;
            }
        }
    };
    let connections = tokio::time::timeout(PATIENCE, quiet)
        .await
        .expect("no statement for 2.5 s");

    assert!(
        !connections.is_empty(),
        "the door keeps its connections, one of them to listen"
    );
}
