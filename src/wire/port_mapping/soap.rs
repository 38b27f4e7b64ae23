//! UPnP IGD 1 and 2: what a device's description says of its port mapping service, the calls of
//! that service (SOAP), and their answers.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Transport,
    xml::{Reader, Token, text_of, unescape},
};

/// Bytes of the longest description or answer that is read.
pub const MAX_DOCUMENT: usize = 64 * 1024;
/// Bytes of the longest path of a control URL.
const MAX_URL: usize = 512;

/// The services that map ports, the best first.
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// The service of a device that maps ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type.
    pub kind: String,
    /// Where it is called, as the description has it: a URL, or a path.
    pub control: String,
    /// What that is relative to, if not to the description's own place.
    pub base: Option<String>,
}

/// The best service of a description that maps ports; `None` if there is none.
pub fn service(description: &str) -> Option<Service> {
    let (mut found, mut base): (Option<(usize, Service)>, Option<String>) = (None, None);
    let (mut kind, mut control) = (String::new(), String::new());
    let mut element = "";
    for token in Reader::new(description) {
        match token {
            Token::Open("service") => {
                kind.clear();
                control.clear();
            }
            Token::Open(name) => element = name,
            Token::Text(text) if text.len() <= MAX_URL => match element {
                "serviceType" => kind = unescape(text),
                "controlURL" => control = unescape(text),
                "URLBase" => base = base.or_else(|| Some(unescape(text))),
                _ => {}
            },
            Token::Close("service") => {
                let rank = SERVICES.iter().position(|service| *service == kind);
                let is_better = |rank| found.as_ref().is_none_or(|(best, _)| rank < *best);
                if let Some(rank) = rank.filter(|&rank| !control.is_empty() && is_better(rank)) {
                    let service =
                        Service { kind: kind.clone(), control: control.clone(), base: None };
                    found = Some((rank, service));
                }
            }
            Token::Close(_) => element = "",
            Token::Text(_) => {}
        }
    }
    found.map(|(_, service)| Service { base, ..service })
}

/// A call of such a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Asks for the outer address.
    GetExternalAddress,
    /// Maps a port.
    Add {
        /// Of what.
        transport: Transport,
        /// The outer port.
        external: u16,
        /// Where it leads: our address and port.
        client: Ipv4Addr,
        /// Our port.
        internal: u16,
        /// Seconds; 0 for ever.
        lifetime: u32,
        /// What the router shows of it: no more than letters, digits, blanks and `-`.
        description: &'static str,
    },
    /// Takes a mapping back.
    Delete {
        /// Of what.
        transport: Transport,
        /// The outer port.
        external: u16,
    },
}

impl Call {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetExternalAddress => "GetExternalIPAddress",
            Self::Add { .. } => "AddPortMapping",
            Self::Delete { .. } => "DeletePortMapping",
        }
    }

    /// The value of the header `SOAPAction`, with its quotes.
    pub fn action(&self, service: &str) -> String {
        format!("\"{service}#{}\"", self.name())
    }

    /// The body of the request.
    pub fn body(&self, service: &str) -> String {
        let (name, kind) = (self.name(), escape(service));
        let arguments = match self {
            Self::GetExternalAddress => String::new(),
            Self::Add { transport, external, client, internal, lifetime, description } => format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort>\
                 <NewProtocol>{}</NewProtocol><NewInternalPort>{internal}</NewInternalPort>\
                 <NewInternalClient>{client}</NewInternalClient><NewEnabled>1</NewEnabled>\
                 <NewPortMappingDescription>{description}</NewPortMappingDescription>\
                 <NewLeaseDuration>{lifetime}</NewLeaseDuration>",
                transport.name()
            ),
            Self::Delete { transport, external } => format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort>\
                 <NewProtocol>{}</NewProtocol>",
                transport.name()
            ),
        };
        format!(
            "<?xml version=\"1.0\"?>\r\n\
             <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{name} xmlns:u=\"{kind}\">{arguments}</u:{name}></s:Body></s:Envelope>\r\n"
        )
    }
}

/// The outer address in an answer; `None` if there is none.
pub fn external_address(answer: &str) -> Option<IpAddr> {
    text_of(answer, "NewExternalIPAddress", 64)?.parse().ok()
}

/// The error of a fault (UPnP Device Architecture 1.1 §3.2.2), if an answer is one.
pub fn error_code(answer: &str) -> Option<u16> {
    text_of(answer, "errorCode", 8)?.parse().ok()
}

/// A device may call its service anything.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = "<?xml version=\"1.0\"?>\
        <root xmlns=\"urn:schemas-upnp-org:device-1-0\"><URLBase>http://192.168.1.1:80/</URLBase>\
        <device><serviceList><service>\
        <serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>\
        <controlURL>/ctl/L3F</controlURL></service></serviceList><deviceList><device>\
        <serviceList><service>\
        <serviceType>urn:schemas-upnp-org:service:WANPPPConnection:1</serviceType>\
        <controlURL>/ctl/PPP</controlURL></service><service>\
        <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
        <SCPDURL>/WANIPCn.xml</SCPDURL><controlURL>/ctl/IPConn?a=1&amp;b</controlURL>\
        </service></serviceList></device></deviceList></device></root>";

    #[test]
    fn best_service_of_a_description_is_found_with_its_base() {
        let found = service(DESCRIPTION).unwrap();
        assert_eq!(found.kind, SERVICES[1]);
        assert_eq!(found.control, "/ctl/IPConn?a=1&b");
        assert_eq!(found.base.as_deref(), Some("http://192.168.1.1:80/"));
        assert_eq!(service("<root><service></service></root>"), None);
        assert_eq!(service("no xml"), None);
    }

    #[test]
    fn soap_calls_have_their_arguments_in_order() {
        let call = Call::Add {
            transport: Transport::Udp,
            external: 6882,
            client: Ipv4Addr::new(192, 168, 1, 2),
            internal: 6881,
            lifetime: 3600,
            description: "x",
        };
        assert_eq!(call.action("urn:s"), "\"urn:s#AddPortMapping\"");
        let body = call.body("urn:s");
        let names = ["NewRemoteHost", "NewExternalPort", "NewProtocol", "NewInternalPort"];
        let names = names.into_iter().chain(["NewInternalClient", "NewEnabled"]);
        let places: Vec<_> = names.map(|name| body.find(&format!("<{name}>")).unwrap()).collect();
        assert!(places.is_sorted());
        for (name, text) in [
            ("NewExternalPort", "6882"),
            ("NewProtocol", "UDP"),
            ("NewInternalPort", "6881"),
            ("NewInternalClient", "192.168.1.2"),
            ("NewLeaseDuration", "3600"),
        ] {
            assert_eq!(text_of(&body, name, 99).as_deref(), Some(text), "{name}");
        }
        assert!(Call::GetExternalAddress.body("a\"<b>").contains("a&quot;&lt;b&gt;"));
    }

    #[test]
    fn soap_answers_and_faults_are_read() {
        let answer = "<s:Envelope><s:Body><u:GetExternalIPAddressResponse>\
                      <NewExternalIPAddress>203.0.113.7</NewExternalIPAddress>\
                      </u:GetExternalIPAddressResponse></s:Body></s:Envelope>";
        assert_eq!(external_address(answer), Some("203.0.113.7".parse().unwrap()));
        assert_eq!(error_code(answer), None);
        let fault = "<s:Fault><detail><UPnPError><errorCode>725</errorCode></UPnPError></detail>\
                     </s:Fault>";
        assert_eq!((error_code(fault), external_address(fault)), (Some(725), None));
        assert_eq!(error_code("<errorCode>x</errorCode>"), None);
    }
}
