//! Encrypted connections to nodes that are known by their addresses.
//!
//! A cluster tells its nodes by IP address, and that is what a connection is checked against; most certificates carry
//! a name. So a node's certificate must be good for its address, or for the host name of a contact point, which a person
//! has written down.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::StoreError;

const ATTEMPTED: &str = "setting up tls for cassandra";

/// Encryption by the authorities that the machine trusts, for nodes named by `contact_points` (`host` or `host:port`).
pub(super) fn config(contact_points: &[String]) -> Result<Arc<ClientConfig>, StoreError> {
    // Named, because a binary may have two of them.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots()?), Arc::clone(&provider)).build();
    let chain = chain.map_err(|error| StoreError::failed(ATTEMPTED, error))?;
    let names = contact_points.iter().filter_map(|point| name_of(point)).collect();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| StoreError::failed(ATTEMPTED, error))?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(NodeVerifier { chain, names }));
    Ok(Arc::new(config.with_no_client_auth()))
}

fn roots() -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let cause = found.errors.into_iter().next().map(|error| error.to_string());
    let cause = cause.unwrap_or_else(|| "this machine trusts no authority: set SSL_CERT_FILE".to_owned());
    Err(StoreError::unavailable(ATTEMPTED, cause))
}

/// The host of a contact point; `None` if it is no name that a certificate could carry.
fn name_of(contact_point: &str) -> Option<ServerName<'static>> {
    let host = contact_point.rsplit_once(':').map_or(contact_point, |(host, _)| host);
    ServerName::try_from(host.to_owned()).ok()
}

/// Checks certificates as always, but for more than one name.
#[derive(Debug)]
struct NodeVerifier {
    chain: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        address: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |name: &ServerName<'_>| self.chain.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        let verdict = verify(address);
        let other_name = matches!(
            verdict,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        if !other_name {
            return verdict;
        }
        self.names.iter().find_map(|name| verify(name).ok()).map_or(verdict, Ok)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_point_gives_its_name() {
        let name = |point| name_of(point).map(|name| name.to_str().into_owned());
        assert_eq!(name("cassandra.example:9042").as_deref(), Some("cassandra.example"));
        assert_eq!(name("cassandra.example").as_deref(), Some("cassandra.example"));
        assert_eq!(name("10.0.0.1:9042").as_deref(), Some("10.0.0.1"));
        assert_eq!(name("no name:9042"), None);
    }
}
