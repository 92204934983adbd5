//! Certificates as tests need them: good ones, and every kind of bad one.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// An authority that signs whatever it is asked to.
pub(crate) struct Authority {
    pub(crate) ca: PathBuf,
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A new one, whose files lie in `folder` under `name`.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pair = KeyPair::generate().expect("a key");
        let signed = params.self_signed(&pair).expect("signed");
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, signed.pem()).expect("written");
        Self { ca, folder, issuer: Issuer::new(params, pair) }
    }

    /// Where the files of a certificate are.
    pub(crate) fn files(&self, name: &str) -> Shown {
        Shown {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        }
    }

    /// A certificate with these names, over by now or not.
    pub(crate) fn sign(&self, name: &str, names: &[&str], expired: bool) -> Shown {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(if expired { 2021 } else { 2090 }, 1, 1);
        let pair = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&pair, &self.issuer).expect("signed");
        let files = self.files(name);
        std::fs::write(&files.key, pair.serialize_pem()).expect("written");
        std::fs::write(&files.certificate, signed.pem()).expect("written");
        files
    }

    /// A certificate for a node on this machine.
    pub(crate) fn node(&self, id: u64, cluster: &str) -> Shown {
        let name = format!("node-{id}.{cluster}.meridian");
        self.sign(&format!("{cluster}-{id}"), &["127.0.0.1", "localhost", &name], false)
    }
}

impl Shown {
    /// The `[tls]` of a node that shows this one.
    pub(crate) fn section(&self, ca: &Path) -> String {
        let Self { certificate, key } = self;
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nca = {ca:?}\n")
    }
}
