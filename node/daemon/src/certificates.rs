//! `meridian certificates`: an authority of one's own, and what it signs. For a first cluster, not for a company
//! that has an authority already.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use meridian_daemon::tls::node_name;
use meridian_model::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Options of the command.
#[derive(Args)]
pub(crate) struct CertificatesArgs {
    /// Where the files go; an authority that is there already is used again
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// The cluster's name, as in its configuration
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// How many nodes to make certificates for, numbered from 1
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=64))]
    nodes: u64,
    /// Host names and addresses by which clients reach the nodes, repeatable or separated by commas
    #[arg(long, value_name = "HOST", value_delimiter = ',', default_value = "localhost,127.0.0.1")]
    host: Vec<String>,
    /// Clients to make certificates for, repeatable or separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    client: Vec<String>,
    /// How long they are valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("certificate: {0}")]
    Made(#[from] rcgen::Error),
    #[error("{0} was not made by this command: sign the nodes' certificates with whatever made it")]
    Foreign(String),
    #[error(
        "{there} is there and {missing} is not: put it back, or, for another authority that nobody trusts yet, choose \
         an empty folder"
    )]
    Half { there: String, missing: String },
}

/// Makes the files.
pub(crate) fn run(args: &CertificatesArgs) -> ExitCode {
    match make(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meridian: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(args: &CertificatesArgs) -> Result<(), Trouble> {
    let folder = args.folder.as_path();
    std::fs::create_dir_all(folder).map_err(|error| Trouble::File(folder.display().to_string(), error))?;
    let authority = authority(args)?;
    for node in 1..=args.nodes {
        let mut names = args.host.clone();
        names.push(node_name(NodeId(node), &args.cluster));
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        sign(args, &authority, &format!("node-{node}"), names, &usages)?;
    }
    for client in &args.client {
        sign(args, &authority, client, Vec::new(), &[ExtendedKeyUsagePurpose::ClientAuth])?;
    }
    println!(
        "In {}: ca.pem, and certificates of {} nodes and {} clients.",
        folder.display(),
        args.nodes,
        args.client.len()
    );
    println!();
    println!("On node 1, whose files these are:");
    println!("  [tls]");
    for (key, file) in [("certificate", "node-1.pem"), ("key", "node-1.key"), ("ca", "ca.pem")] {
        println!("  {key} = {:?}", folder.join(file).display().to_string());
    }
    println!();
    println!("Clients: meridian --tls-ca {} ...", folder.join("ca.pem").display());
    println!("Whoever has ca.key can be any node: keep it away from the nodes.");
    Ok(())
}

fn validity(args: &CertificatesArgs, params: &mut CertificateParams) {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = epoch + std::time::Duration::from_secs(seconds);
    // A machine whose clock is behind accepts it, too.
    params.not_before = now - std::time::Duration::from_secs(24 * 3600);
    params.not_after = now + std::time::Duration::from_secs(u64::from(args.days) * 24 * 3600);
}

fn authority(args: &CertificatesArgs) -> Result<Issuer<'static, KeyPair>, Trouble> {
    let (certificate, key) = (args.folder.join("ca.pem"), args.folder.join("ca.key"));
    for (there, missing) in [(&certificate, &key), (&key, &certificate)] {
        if there.exists() && !missing.exists() {
            let [there, missing] = [there, missing].map(|path| path.display().to_string());
            return Err(Trouble::Half { there, missing });
        }
    }
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Meridian authority");
    validity(args, &mut params);
    if certificate.exists() {
        let pem = std::fs::read_to_string(&key);
        let pem = pem.map_err(|error| Trouble::File(key.display().to_string(), error))?;
        let pair = KeyPair::from_pem(&pem)?;
        let again = params.self_signed(&pair)?;
        let there = CertificateDer::from_pem_file(&certificate).ok();
        let anchor = |der: &CertificateDer<'_>| Some(webpki::anchor_from_trusted_cert(der).ok()?.to_owned());
        if there.as_ref().and_then(anchor).is_none_or(|there| Some(there) != anchor(again.der())) {
            return Err(Trouble::Foreign(certificate.display().to_string()));
        }
        return Ok(Issuer::new(params, pair));
    }
    let pair = KeyPair::generate()?;
    let signed = params.self_signed(&pair)?;
    write(&certificate, &signed.pem(), false)?;
    write(&key, &pair.serialize_pem(), true)?;
    Ok(Issuer::new(params, pair))
}

fn sign(
    args: &CertificatesArgs,
    authority: &Issuer<'static, KeyPair>,
    name: &str,
    names: Vec<String>,
    usages: &[ExtendedKeyUsagePurpose],
) -> Result<(), Trouble> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    validity(args, &mut params);
    let pair = KeyPair::generate()?;
    let signed = params.signed_by(&pair, authority)?;
    write(&args.folder.join(format!("{name}.pem")), &signed.pem(), false)?;
    write(&args.folder.join(format!("{name}.key")), &pair.serialize_pem(), true)
}

/// Writes a file beside and renames it, so that a node that looks meanwhile never sees half of it.
fn write(path: &Path, text: &str, secret: bool) -> Result<(), Trouble> {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = path.with_extension("new");
    let mode = if secret { 0o600 } else { 0o644 };
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(mode).open(&beside);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    let done = written.and_then(|()| std::fs::rename(&beside, path));
    done.map_err(|error| Trouble::File(path.display().to_string(), error))
}
