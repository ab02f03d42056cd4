use super::*;

#[test]
fn messages_are_whole_however_the_bytes_come() {
    let mut stream = vec![0, 0, 0, 9, 0, 3, 0, 0, b'x'];
    stream.extend_from_slice(b"S\0\0\0\x04");
    stream.extend_from_slice(b"Q\0\0\0\x08abc\0");
    let mut frames = Frames::of_client();
    let mut seen = Vec::new();
    for byte in stream {
        frames.extend(&[byte]);
        seen.extend(frames.next().unwrap());
    }
    let told: Vec<_> = seen.iter().map(|message| (message.kind, message.body())).collect();
    assert_eq!(
        told,
        [(None, &b"\0\x03\0\0x"[..]), (Some(b'S'), b""), (Some(b'Q'), b"abc\0"),]
    );
}

#[test]
fn what_is_not_the_protocol_is_refused() {
    let mut frames = Frames::of_server();
    frames.extend(b"HTTP/1.1");
    assert!(frames.next().is_err());
}

#[test]
fn the_first_parameter_and_the_second_column_are_found() {
    let bind = b"portal\0name\0\0\x01\0\x01\0\x02\0\0\0\x02hi\0\0\0\x01x\0\0";
    assert_eq!(first_parameter(bind), Some(&b"hi"[..]));
    assert_eq!(first_parameter(b"\0\0\0\0\0\0"), None);
    assert_eq!(second_column(b"\0\x02\0\0\0\x02hi\0\0\0\x01\x01"), Some(&b"\x01"[..]));
    assert_eq!(
        second_column(b"\0\x02\xff\xff\xff\xff\0\0\0\x01\x01"),
        Some(&b"\x01"[..])
    );
    assert_eq!(second_column(b"\0\x01\0\0\0\x01\x01"), None);
}
