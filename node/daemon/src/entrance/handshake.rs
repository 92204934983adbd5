//! The handshake of one connection: who it is, or why it is refused.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::connection::Peer;
use super::farewell::{self, Why};
use super::sniff::Sniffed;
use crate::listen::Io;

/// What a listener with TLS asks of whoever connects. Asked anew for each connection, so that new certificates
/// count at once.
pub(crate) trait Greeter: Send + Sync + 'static {
    /// The certificate to show and the demands on the other side's.
    fn config(&self) -> Arc<rustls::ServerConfig>;

    /// Who it is, by its certificate.
    fn peer(&self, certificate: &rustls::pki_types::CertificateDer<'_>) -> Peer;

    /// What this refusal means, in words.
    fn explain(&self, error: &rustls::Error) -> String;
}

/// Shakes hands. Bounded by the caller.
pub(super) async fn meet(greeter: &dyn Greeter, io: Box<dyn Io>) -> Result<(Box<dyn Io>, Peer), String> {
    /// The content type of a TLS handshake record.
    const HANDSHAKE: u8 = 0x16;
    let (first, io) = Sniffed::wait(io).await.map_err(|_| "gone before it said anything".to_string())?;
    if first != HANDSHAKE {
        farewell::send(io, Why::NeedsTls).await;
        return Err("plaintext on a listener that speaks TLS only".into());
    }
    let accepting = TlsAcceptor::from(greeter.config()).accept(io).into_fallible();
    match accepting.await {
        Ok(stream) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = certificate.map_or_else(Peer::unknown, |certificate| greeter.peer(certificate));
            Ok((Box::new(stream), peer))
        }
        Err((error, io)) => {
            let why = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(refused) => greeter.explain(refused),
                None => error.to_string(),
            };
            // The alert is on its way; it must arrive before the end does.
            farewell::drain(io).await;
            Err(why)
        }
    }
}
