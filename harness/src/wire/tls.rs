//! Whose certificates do we believe, and what does the handshake offer?

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::WireError;

/// Which TLS versions are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.3 and 1.2.
    #[default]
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// How TLS is spoken. Ignored on plain connections.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificates of authorities to trust; the system's where empty.
    pub ca: Vec<CertificateDer<'static>>,
    /// Accept any certificate: for servers of development with throw-away keys.
    pub insecure: bool,
    /// Application protocols to offer, by preference; none where empty.
    pub alpn: Vec<Vec<u8>>,
    /// The name to ask for and verify, if it is not the endpoint's host.
    pub server_name: Option<String>,
    /// Versions to offer.
    pub versions: TlsVersions,
    /// Offer a ticket of an earlier connection: cheap handshakes. Off: every handshake is a full one.
    pub resume: bool,
    /// What we show to a server that asks who we are.
    pub client: Option<Arc<ClientCertificate>>,
    /// Made once by [`prepared`](Self::prepared).
    pub(crate) built: Option<Arc<ClientConfig>>,
}

/// A certificate of our own, with its chain, and its key: mutual TLS.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// Reads both from PEM files.
    ///
    /// # Errors
    /// A file that cannot be read, or does not hold what it should.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<ClientCertificate, WireError> {
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|e| WireError::Tls(format!("could not read a private key in PEM from {}: {e}", key.display())))?;
        Ok(ClientCertificate { chain: certificates(certificate)?, key })
    }
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WireError> {
    let wrong = |reason: String| WireError::Tls(format!("could not read {}: {reason}", path.display()));
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?.collect();
    let found = found.map_err(|e| wrong(e.to_string()))?;
    if found.is_empty() { Err(wrong("it holds no certificate in PEM".into())) } else { Ok(found) }
}

impl TlsOptions {
    /// Trusts the authorities of a PEM file.
    pub fn with_ca_file(mut self, path: &Path) -> Result<TlsOptions, WireError> {
        self.ca.extend(certificates(path)?);
        Ok(self)
    }

    /// The same, with all that the TLS library needs made once: reading the system's authorities takes milliseconds,
    /// which is nothing for one connection and much for hundreds.
    ///
    /// # Errors
    /// As [`config`](Self::config).
    pub fn prepared(mut self) -> Result<TlsOptions, WireError> {
        self.built = Some(self.config()?);
        Ok(self)
    }

    /// The same, offering these application protocols.
    pub fn with_alpn(&self, alpn: Vec<Vec<u8>>) -> TlsOptions {
        TlsOptions { alpn, built: None, ..self.clone() }
    }

    /// What the TLS library needs. Build it once per run and share it: it holds the tickets.
    ///
    /// # Errors
    /// No authority to trust, a client's key that does not fit its certificate.
    pub fn config(&self) -> Result<Arc<ClientConfig>, WireError> {
        if let Some(built) = &self.built {
            return Ok(Arc::clone(built));
        }
        let failed = |e: rustls::Error| WireError::Tls(e.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = match self.versions {
            TlsVersions::Both => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersions::Tls12 => &[&rustls::version::TLS12],
            TlsVersions::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(failed)?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            let mut roots = RootCertStore::empty();
            if self.ca.is_empty() {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            for ca in &self.ca {
                roots.add(ca.clone()).map_err(failed)?;
            }
            if roots.is_empty() {
                return Err(WireError::Tls(
                    "there is no authority to trust; hint: `tls: {ca: FILE}` in the profile, or `tls: {insecure: true}` for a throw-away server".into(),
                ));
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| WireError::Tls(e.to_string()))?;
            builder.with_webpki_verifier(verifier)
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                builder.with_client_auth_cert(client.chain.clone(), client.key.clone_key()).map_err(|e| {
                    let hint = match e.to_string().contains("UnsupportedCertVersion") {
                        true => "; hint: only X.509 version 3 is taken, which `openssl x509` makes with `-extfile`",
                        false => "",
                    };
                    WireError::Tls(format!("the client's certificate and key cannot be used: {e}{hint}"))
                })?
            }
        };
        config.alpn_protocols = self.alpn.clone();
        if !self.resume {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Ok(Arc::new(config))
    }

    /// The name that a server at `host` has to prove.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, WireError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|_| WireError::Tls(format!("`{name}` is no server name")))
    }
}

/// Accepts every certificate, but holds the peer to the signature of the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
