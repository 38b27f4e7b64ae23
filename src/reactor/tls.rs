//! TLS for tracker streams, by rustls with ring. Without the feature `tls` there is none, and
//! a stream that wants it fails and says so.
//!
//! It turns bytes into bytes; sockets are its owner's. Certificates are always verified, against
//! Mozilla's list and what the user adds.

#[cfg(feature = "tls")]
pub(super) use with::{Tls, TlsConf};
#[cfg(not(feature = "tls"))]
pub(super) use without::{Tls, TlsConf};

#[cfg(feature = "tls")]
mod with {
    use std::{
        io::{self, Read, Write},
        sync::Arc,
    };

    use rustls::{
        ClientConfig, ClientConnection, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    };

    /// Which authorities to trust. Made when it is first needed.
    #[derive(Debug)]
    pub(crate) struct TlsConf {
        /// Certificates in PEM or DER.
        extra: Vec<Vec<u8>>,
        made: Option<Arc<ClientConfig>>,
    }

    impl TlsConf {
        /// # Errors
        /// What is wrong with the user's certificates, in words.
        pub(crate) fn new(extra: &[Vec<u8>]) -> Result<Self, String> {
            let mut conf = Self { extra: extra.to_vec(), made: None };
            if !extra.is_empty() {
                conf.get()?;
            }
            Ok(conf)
        }

        fn get(&mut self) -> Result<Arc<ClientConfig>, String> {
            if let Some(made) = &self.made {
                return Ok(made.clone());
            }
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            for bytes in &self.extra {
                for root in certificates(bytes)? {
                    roots.add(root).map_err(|e| format!("not a certificate to trust: {e}"))?;
                }
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let conf = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| e.to_string())?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(self.made.insert(Arc::new(conf)).clone())
        }
    }

    /// One in DER, or all in PEM.
    fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        if bytes.first() == Some(&0x30) {
            return Ok(vec![CertificateDer::from(bytes.to_vec())]);
        }
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
        match found {
            Ok(found) if found.is_empty() => Err("no certificate in what was given as such".into()),
            Ok(found) => Ok(found),
            Err(e) => Err(format!("certificates that cannot be read: {e}")),
        }
    }

    /// One connection's TLS.
    #[derive(Debug)]
    pub(crate) struct Tls {
        conn: Box<ClientConnection>,
        /// The other side has said that nothing more comes.
        ended: bool,
    }

    impl Tls {
        /// # Errors
        /// If `name` can be no server's name or address, or there is no authority to trust.
        pub(crate) fn new(conf: &mut TlsConf, name: &str) -> Result<Self, String> {
            let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
            let mut conn = ClientConnection::new(conf.get()?, name).map_err(|e| e.to_string())?;
            conn.set_buffer_limit(Some(64 * 1024));
            Ok(Self { conn: Box::new(conn), ended: false })
        }

        /// Whether the other side has proved who it is and data may be sent.
        pub(crate) fn is_up(&self) -> bool {
            !self.conn.is_handshaking()
        }

        /// Whether the other side has ended the stream in good order.
        pub(crate) fn is_ended(&self) -> bool {
            self.ended
        }

        /// Takes what came from the socket; what was in it goes to `take`.
        pub(crate) fn receive(
            &mut self,
            mut bytes: &[u8],
            mut take: impl FnMut(&[u8]),
        ) -> Result<(), String> {
            let mut plain = [0; 8192];
            while !bytes.is_empty() {
                self.conn.read_tls(&mut bytes).map_err(|e| e.to_string())?;
                self.conn.process_new_packets().map_err(in_words)?;
                loop {
                    match self.conn.reader().read(&mut plain) {
                        Ok(0) => {
                            self.ended = true;
                            return Ok(());
                        }
                        Ok(len) => take(plain.get(..len).unwrap_or_default()),
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) => return Err(e.to_string()),
                    }
                }
            }
            Ok(())
        }

        /// Wraps up what it has room for.
        pub(crate) fn send(&mut self, plain: &[u8]) -> usize {
            self.conn.writer().write(plain).unwrap_or(0)
        }

        pub(crate) fn wants_write(&self) -> bool {
            self.conn.wants_write()
        }

        /// Writes what is wrapped up.
        pub(crate) fn write_to(&mut self, socket: &mut impl Write) -> io::Result<usize> {
            self.conn.write_tls(socket)
        }
    }

    fn in_words(e: rustls::Error) -> String {
        match e {
            rustls::Error::InvalidCertificate(why) => format!("its certificate is not good: {why}"),
            e => format!("TLS failed: {e}"),
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    use std::io::{self, Write};

    /// No authorities to trust.
    #[derive(Debug)]
    pub(crate) struct TlsConf;

    /// No TLS.
    #[derive(Debug)]
    pub(crate) enum Tls {}

    impl TlsConf {
        pub(crate) fn new(_extra: &[Vec<u8>]) -> Result<Self, String> {
            Ok(Self)
        }
    }

    impl Tls {
        pub(crate) fn new(_conf: &mut TlsConf, _name: &str) -> Result<Self, String> {
            Err("this program was built without TLS".into())
        }

        pub(crate) fn is_up(&self) -> bool {
            match *self {}
        }

        pub(crate) fn is_ended(&self) -> bool {
            match *self {}
        }

        pub(crate) fn receive(
            &mut self,
            _bytes: &[u8],
            _take: impl FnMut(&[u8]),
        ) -> Result<(), String> {
            match *self {}
        }

        pub(crate) fn send(&mut self, _plain: &[u8]) -> usize {
            match *self {}
        }

        pub(crate) fn wants_write(&self) -> bool {
            match *self {}
        }

        pub(crate) fn write_to(&mut self, _socket: &mut impl Write) -> io::Result<usize> {
            match *self {}
        }
    }
}
