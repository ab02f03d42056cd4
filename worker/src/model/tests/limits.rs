//! Limits on parts of a call.

use super::endpoint::{Act, Endpoint};
use super::{LONG, SHORT, ambiguous, call, model};
use agent::{Bound, ErrorClass};

#[tokio::test]
async fn an_answer_that_does_not_begin_is_ended_by_its_own_limit() {
    let endpoint = Endpoint::new(vec![Act::Silence]).await;
    let model = model();
    let mut call = call(&model, LONG, LONG);
    call.first_byte_timeout = Some(SHORT);

    let (error, evidence) = ambiguous(endpoint.client().call(call, |_| {}).await);

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "model_first_byte_timeout")
    );
    assert_eq!(error.limit.unwrap().bound_by, Bound::FirstByte);
    assert_eq!(evidence["bound_by"], "model_first_byte_timeout");
}
