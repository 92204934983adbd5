//! Committed files say nothing of the machine they were written on: no paths of its own, no package mirrors.

use super::{House, Violation};

/// Folders that belong to one machine or one person. Split here, so that this file does not name them.
const FOLDERS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/worksp", "ace/"),
];

/// Hosts of package registries and their mirrors.
const HOSTS: [&str; 9] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("goproxy", "."),
    concat!("artifact", "ory"),
    concat!("deb.debian", ".org"),
];

/// The only place from which a locked crate may come: the default, which cargo writes whatever mirror it used.
const DEFAULT_SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(house: &House) -> Vec<Violation> {
    let files = house.files().filter(|(path, _)| !path.contains("/generated/"));
    files
        .flat_map(|(path, text)| match path {
            "Cargo.lock" => judge_lock(path, text),
            _ => judge(path, text),
        })
        .collect()
}

fn judge_lock(path: &str, text: &str) -> Vec<Violation> {
    let sources =
        text.lines().zip(1..).filter_map(|(line, number)| Some((line.strip_prefix("source = ")?, number)));
    sources
        .filter(|(source, _)| source.trim_matches('"') != DEFAULT_SOURCE)
        .map(|(source, number)| Violation::new(path, number, format!("a crate comes from {source}")))
        .collect()
}

fn judge(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if let Some(folder) = FOLDERS.iter().find(|folder| begins_path(line, folder)) {
            found.push(Violation::new(path, number, format!("`{folder}...` exists on one machine only")));
        }
        if let Some(host) = HOSTS.iter().find(|host| line.contains(*host)) {
            found.push(Violation::new(path, number, format!("names a package registry: {host}")));
        }
    }
    found
}

/// Whether an absolute path below `folder` stands in the line; `net/work/` is none.
fn begins_path(line: &str, folder: &str) -> bool {
    let before = line.match_indices(folder).map(|(at, _)| line[..at].chars().next_back());
    before
        .into_iter()
        .any(|before| before.is_none_or(|c| !c.is_ascii_alphanumeric() && !"._-/~}*>".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&House::made_of([(path, text)])).len()
    }

    #[test]
    fn every_folder_and_host_is_found() {
        for folder in FOLDERS {
            assert_eq!(found("docs/a.md", &format!("see {folder}me/x\n")), 1, "{folder}");
            assert_eq!(found("a.sh", &format!("cp \"{folder}me/x\" .\n")), 1, "{folder}");
        }
        for host in HOSTS {
            assert_eq!(found("a.toml", &format!("url = \"https://{host}/\"\n")), 1, "{host}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_not() {
        for text in
            ["net/work/x", "~/home/x", "${PWD}/work/x", "/tmp/x /proc/self /dev/shm", "homework/root/x"]
        {
            assert_eq!(found("docs/a.md", text), 0, "{text}");
        }
    }

    #[test]
    fn a_locked_crate_from_elsewhere_is_found() {
        let lock = format!("source = \"{DEFAULT_SOURCE}\"\nsource = \"sparse+https://mirror.example/\"\n");
        let violations = check(&House::made_of([("Cargo.lock", &lock)]));
        assert_eq!(violations.iter().map(|v| v.line).collect::<Vec<_>>(), [2]);
    }
}
