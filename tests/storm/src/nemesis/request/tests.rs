use super::*;

#[test]
fn a_request_is_whole_with_its_last_byte() {
    let run = Uuid::from_u128(7);
    let text = format!(
        "POST /http HTTP/1.1\r\nhost: x\r\nContent-Length: 4\r\nlonghaul-run: {run}\r\nLonghaul-Worker: storm-1-2\r\n\r\nbody"
    );
    for end in 0..text.len() {
        assert_eq!(Request::read(&text.as_bytes()[..end]).unwrap(), None, "{end}");
    }
    let request = Request::read(text.as_bytes()).unwrap().unwrap();
    assert_eq!(request.run, Some(run));
    assert!(request.is_of("storm-1-2"));
    assert!(!request.is_of("storm-1-3"));
}
