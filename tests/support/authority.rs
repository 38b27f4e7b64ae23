//! Certificates for servers of the tests, by an authority that is made for one test.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// An authority that no client has heard of, and a server's certificate by it.
pub struct Authority {
    /// Its certificate, in PEM.
    pub root: Vec<u8>,
    /// What a server proves its names by.
    pub server: Arc<ServerConfig>,
}

impl Authority {
    /// Servers have these names.
    pub fn new(names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Or each would be taken for the other.
        params.distinguished_name.push(DnType::CommonName, format!("authority for {names:?}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key)
                .unwrap();
        Self { root: issuer.pem().into_bytes(), server: Arc::new(server) }
    }
}
