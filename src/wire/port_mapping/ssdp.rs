//! SSDP, as far as a router is looked for by it (UPnP Device Architecture 1.1 §1.3): a question to
//! all of a network, and answers that say where a device is described.

use std::net::{Ipv4Addr, SocketAddr};

/// The group that the question is sent to.
pub const GROUP: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900));
/// Bytes of the longest answer that is read.
pub const MAX_ANSWER: usize = 2048;
/// Bytes of the longest place of a description.
pub const MAX_LOCATION: usize = 512;

/// What is looked for, the newer first.
pub const TARGETS: [&str; 2] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
];

/// A question for devices of a kind.
pub fn search(target: &str) -> Vec<u8> {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\n\
         ST: {target}\r\n\r\n"
    )
    .into_bytes()
}

/// Where the device of an answer is described, if it is a router. What is no answer, or of another
/// device, says nothing.
pub fn location(answer: &[u8]) -> Option<String> {
    if answer.len() > MAX_ANSWER {
        return None;
    }
    let text = str::from_utf8(answer).ok()?;
    let mut lines = text.lines();
    let mut status = lines.next()?.split(' ');
    if !status.next()?.starts_with("HTTP/1.") || status.next()? != "200" {
        return None;
    }
    let header = |wanted: &str| {
        text.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let is_router = header("st").is_some_and(|st| TARGETS.contains(&st));
    let location = header("location").filter(|_| is_router)?;
    let is_plain = location.bytes().all(|b| b.is_ascii_graphic());
    (is_plain && (1..=MAX_LOCATION).contains(&location.len())).then(|| location.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssdp_question_is_the_one_that_routers_answer() {
        let text = String::from_utf8(search(TARGETS[1])).unwrap();
        assert!(text.starts_with("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"));
        assert!(text.contains("MAN: \"ssdp:discover\"\r\n") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn ssdp_answers_of_routers_say_where_they_are_described() {
        let answer = |status: &str, st: &str, location: &str| {
            let head = format!("HTTP/1.1 {status}\r\nCache-Control: max-age=120\r\nst: {st}\r\n");
            format!("{head}LOCATION: {location}\r\n\r\n").into_bytes()
        };
        let place = "http://192.168.1.1:5000/rootDesc.xml";
        let read = |status: &str, st: &str| location(&answer(status, st, place));
        assert_eq!(read("200 OK", TARGETS[0]).as_deref(), Some(place));
        assert_eq!(read("200 OK", TARGETS[1]).as_deref(), Some(place));
        assert_eq!(read("200 OK", "urn:schemas-upnp-org:device:MediaServer:1"), None);
        assert_eq!(read("404 No", TARGETS[0]), None);
        assert_eq!(location(&answer("200 OK", TARGETS[0], &"x".repeat(513))), None);
        assert_eq!(location(&answer("200 OK", TARGETS[0], "http://a b")), None);
        assert_eq!(location(b"NOTIFY * HTTP/1.1\r\n\r\n"), None);
        assert_eq!(location(b""), None);
        assert_eq!(location(&[0xFF; 30]), None);
        assert_eq!(location(&vec![b'a'; 5000]), None);
    }
}
