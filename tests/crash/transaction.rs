//! kill -9 around transactions: what a step wrote is there exactly once.

use crate::tale::Tales;
use futures_util::future::join_all;
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
