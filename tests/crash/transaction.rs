//! kill -9 around transactions: what a step wrote is there exactly once.

use crate::tale::Tales;
use futures_util::future::join_all;
use longhaul_tests::process::{Start, WorkerProcess};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;

#[tokio::test]
async fn what_a_transaction_wrote_is_there_once_wherever_its_worker_dies() {
    join_all(["transaction.done", "transaction.committed"].map(|point| async move {
        let tales = Tales::new().await;
        let pool = tales.world.database.pool().await;
        let made = sqlx::query("create table sale (item text not null)")
            .execute(&pool)
            .await;
        made.expect("a table");
        let run = tales
            .start(json!([Tales::noted(), {"do": "sell", "item": "a hat"}, Tales::noted()]))
            .await;
        tales.dies_at(point).await;

        let _heir = tales.worker("heir");

        tales.comes_to(run, json!(["noted", "sold", "noted"])).await;
        let sales: i64 = sqlx::query_scalar("select count(*) from sale")
            .fetch_one(&pool)
            .await
            .expect("sales are counted");
        assert_eq!(sales, 1, "{point}");
    }))
    .await;
}

const SELLER: &str = r#"
    name = "seller"

    [model]
    name = "claude-sonnet-5-5"
    max_tokens = 512

    [[tool]]
    name = "sell"
    description = "Sells a thing. Use it once for each thing."
    kind = "sql"
    effect = "transactional"
    statement = "insert into sale (item) values ({item}) returning item"

    [tool.input]
    type = "object"
    required = ["item"]
    [tool.input.properties.item]
    type = "string"
"#;

#[tokio::test]
async fn what_a_tool_wrote_is_there_once_with_its_result_wherever_its_worker_dies() {
    let points = [
        "intent.committed:2",
        "result.received:2",
        "transaction.done",
        "transaction.committed",
    ];
    join_all(points.map(|point| async move {
        let script = Script::new()
            .rule(Rule::on_turn(1).answers(Answer::calling("sell", json!({"item": "a hat"}))))
            .rule(Rule::on_turn(2).answers(Answer::text("Sold.")));
        let world = World::new(script).await;
        let pool = world.database.pool().await;
        let made = sqlx::query("create table public.sale (item text not null)")
            .execute(&pool)
            .await;
        made.expect("a table");
        world.apply(SELLER).await;
        let run = world.start("seller", &json!({})).await;
        WorkerProcess::start(&world, &Start::named("doomed").dying_at(point))
            .died()
            .await;
        let recorded = "select to_jsonb((select count(*) from sale) = (
                            select count(*) from longhaul.step
                            where run_id = $1 and kind = 'tool' and state = 'succeeded'))";
        assert_eq!(world.sql(recorded, run).await, json!(true), "both or neither, {point}");

        let _heir = WorkerProcess::start(&world, &Start::named("heir"));

        let ended = world.settled(run).await;
        assert_eq!(ended.state, "succeeded", "{point}: {ended:#?}");
        assert_eq!(world.sql(recorded, run).await, json!(true), "{point}");
        let sales = world
            .sql("select to_jsonb(count(*)) from sale where $1 is not null", run)
            .await;
        assert_eq!(sales, json!(1), "{point}");
        world.events(run).await;
    }))
    .await;
}
