//! Ids and digests: the same in the database and in Rust.

use crate::stage::Stage;
use engine::payload;
use uuid::{Variant, Version};

#[tokio::test]
async fn a_run_id_is_a_uuid_of_version_7_that_carries_its_cell() {
    let stage = Stage::new().await;
    let before = stage.now().await;
    let first = stage.start().await;
    assert_eq!(first.cell(), 0);
    sqlx::query("update longhaul.cell set number = 4095")
        .execute(&stage.pool)
        .await
        .unwrap();

    let second = stage.start().await;

    assert_eq!(second.cell(), 4095);
    for id in [first.0, second.0] {
        assert_eq!(id.get_version(), Some(Version::SortRand));
        assert_eq!(id.get_variant(), Variant::RFC4122);
        let (seconds, _) = id.get_timestamp().unwrap().to_unix();
        assert!(i64::try_from(seconds).unwrap().abs_diff(before.timestamp()) < 60);
    }
}

#[tokio::test]
async fn a_cell_number_fits_into_twelve_bits() {
    let stage = Stage::new().await;

    let refused = sqlx::query("update longhaul.cell set number = 4096")
        .execute(&stage.pool)
        .await
        .unwrap_err();

    assert!(
        refused.to_string().contains("cell_number_fits_twelve_bits"),
        "{refused}"
    );
}

#[tokio::test]
async fn digests_are_the_same_in_the_database_and_in_rust() {
    let stage = Stage::new().await;
    for text in ["", "{}", "{ }", "é ☃ 𝄞 \u{fffd}", r#""\u0000""#, &"x".repeat(70_000)] {
        let digest: Vec<u8> = sqlx::query_scalar("select longhaul.digest($1)")
            .bind(text)
            .fetch_one(&stage.pool)
            .await
            .unwrap();

        assert_eq!(digest, payload::digest(text), "{text:.20}");
    }
}
