use super::{AllowedHost, Host, Place, place};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn at(text: &str) -> Place {
    place(text.parse().unwrap())
}

#[test]
fn only_what_is_anybodys_is_public() {
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ] {
        assert_eq!(at(address), Place::Public, "{address}");
    }
}

#[test]
fn this_machine_and_the_networks_around_it_are_inside() {
    for address in [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "fc00::1",
        "fdff::1",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "64:ff9b::192.168.0.1",
        "2002:7f00:1::1",
        "2002:a00:1::",
        "2001:db9::5efe:10.0.0.1",
    ] {
        assert!(matches!(at(address), Place::Inside(_)), "{address}: {:?}", at(address));
    }
}

#[test]
fn nothing_that_a_name_should_lead_to_is_called_inside_or_public() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.170.2",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::7f00:1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1.1.1.1",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "4000::1",
    ] {
        assert!(matches!(at(address), Place::Special(_)), "{address}: {:?}", at(address));
    }
}

#[test]
fn a_host_is_read_in_whichever_way_a_url_holds_it() {
    assert_eq!(Host::of("Shop.Test."), Host::Name("shop.test".to_owned()));
    assert_eq!(Host::of("127.0.0.1"), Host::Address(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(Host::of("[::1]"), Host::Address(Ipv6Addr::LOCALHOST.into()));
    assert!(Host::of("localhost").is_inside() && Host::of("a.localhost.").is_inside());
    assert!(!Host::of("localhost.test").is_inside() && !Host::of("1.1.1.1").is_inside());
}

#[test]
fn an_allowed_host_is_a_name_or_an_address_with_or_without_its_port() {
    for (entry, stored) in [
        ("payments.internal", "payments.internal"),
        ("Payments.Internal.:8080", "payments.internal:8080"),
        ("10.0.0.7:8080", "10.0.0.7:8080"),
        ("[0:0::1]:8080", "[::1]:8080"),
        ("[::1]", "[::1]"),
        ("a_b-c", "a_b-c"),
    ] {
        assert_eq!(AllowedHost::parse(entry).unwrap().to_string(), stored, "{entry}");
    }
    for entry in [
        "",
        ".",
        ":80",
        "a..b",
        "*.internal",
        "http://a",
        "a/b",
        "a b",
        "a:",
        "a:0",
        "a:65536",
        "a:+1",
        "a:b",
        "user@a",
        "10.0.0.0/8",
        "127.1",
        "0x7f.0x1",
        "256.1.1.1",
        "::1",
        "[::1",
        "[a]",
        "münchen",
    ] {
        assert_eq!(AllowedHost::parse(entry), None, "{entry}");
    }
}

#[test]
fn an_allowed_host_admits_itself_and_nothing_beside_it() {
    let named = AllowedHost::parse("payments.internal").unwrap();
    assert!(named.admits(&Host::of("PAYMENTS.internal."), 1));
    assert!(!named.admits(&Host::of("a.payments.internal"), 1));
    assert!(!named.admits(&Host::of("127.0.0.1"), 1));

    let address = AllowedHost::parse("127.0.0.1:8080").unwrap();
    assert!(address.admits(&Host::of("127.0.0.1"), 8080));
    assert!(!address.admits(&Host::of("127.0.0.1"), 8081));
    assert!(!address.admits(&Host::of("127.0.0.2"), 8080));
    assert!(!address.admits(&Host::of("[::ffff:127.0.0.1]"), 8080));
    assert!(!address.admits(&Host::of("localhost"), 8080));
}

proptest! {
    #[test]
    fn an_ipv4_address_within_an_ipv6_one_is_no_more_public_than_by_itself(bits in any::<u32>()) {
        let address = Ipv4Addr::from(bits);
        let own = place(IpAddr::V4(address));
        let [a, b, c, d] = address.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        for within in [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ] {
            prop_assert_eq!(place(IpAddr::V6(within)), own);
        }
    }

    #[test]
    fn an_entry_is_stored_so_that_it_reads_back_the_same(text in "[a-z0-9.:\\[\\]-]{0,20}") {
        if let Some(entry) = AllowedHost::parse(&text) {
            prop_assert_eq!(AllowedHost::parse(&entry.to_string()), Some(entry));
        }
    }
}
